"""A sink that notes what an interpreter says, and a clock that is set by hand."""

from __future__ import annotations

from typing import Any, NamedTuple


class Final(NamedTuple):
    segment_id: str
    speaker: str
    language: str
    text: str
    translation: tuple[str, str] | None
    metadata: dict[str, Any]


class NotingSink:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str | None, bytes]] = []
        self.marks: list[tuple[str, str]] = []
        self.cleared: list[str | None] = []
        self.partials: list[tuple[str, str]] = []
        self.finals: list[Final] = []
        self.settlements: list[tuple[str, tuple[str, str] | None, dict[str, Any]]] = []
        self.failures: list[tuple[str, str]] = []
        self.timings: list[tuple[str, dict[str, int]]] = []
        self.modes: list[str | None] = []

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, mulaw: bytes) -> None:
        self.sent.append((speaker, target, mulaw))

    def clear(self, target: str | None) -> None:
        self.cleared.append(target)

    def mark(self, target: str, name: str) -> None:
        self.marks.append((target, name))

    def partial(self, segment_id: str, speaker: str, language: str, text: str, timestamp_ms: int) -> None:
        self.partials.append((segment_id, text))

    def final(
        self,
        segment_id: str,
        speaker: str,
        language: str,
        text: str,
        start_ms: int,
        end_ms: int,
        confidence: float,
        translation: tuple[str, str] | None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.finals.append(Final(segment_id, speaker, language, text, translation, metadata or {}))

    def settled(self, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]) -> None:
        self.settlements.append((segment_id, translation, metadata))

    def timed(self, segment_id: str, speaker: str, timing_ms: dict[str, int]) -> None:
        self.timings.append((segment_id, timing_ms))

    def acts_as(self, mode: str | None) -> None:
        self.modes.append(mode)

    def processing(self, running: bool) -> None:
        raise AssertionError("no agent works here")

    def transfer(self, target: str, to: str) -> None:
        raise AssertionError("nobody is transferred here")

    def end_call(self, target: str, reason: str) -> None:
        raise AssertionError("no call is ended here")

    def failed(self, code: str, message: str) -> None:
        self.failures.append((code, message))

    def heard_by(self, target: str) -> int:
        """Octets that were sent for a target to hear."""
        return sum(len(octets) for _, to, octets in self.sent if to == target)


class Measured:
    def __init__(self) -> None:
        self.times: list[tuple[str, float, str]] = []
        self.events: list[str] = []

    def timed(self, moment: str, seconds: float, of: str) -> None:
        self.times.append((moment, seconds, of))

    def counted(self, event: str) -> None:
        self.events.append(event)
