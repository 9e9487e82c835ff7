"""The far end of an agent: an ear that receives audio, plays it when told to, and tells what was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.speech.interpreter import OCTETS_PER_MS


class Ear:
    """A `Sink` with one listener. tells: it knows marks and clears, as our gateway does. `now`: its clock."""

    def __init__(self, *, tells: bool = True) -> None:
        self.now = 1000.0
        self.tells = tells
        self.speaker = self.to = ""
        self.received_ms = self.played_ms = 0
        self.finals: list[dict[str, Any]] = []
        self.partials: list[str] = []
        self.errors: list[str] = []
        self.working: list[bool] = []
        self.done: list[tuple[str, ...]] = []
        self.modes: list[str | None] = []
        self.timings: list[tuple[str, dict[str, int]]] = []
        self._marks: list[tuple[int, str]] = []
        self._reported_ms = 0
        self._dropped_ms = 0
        self._played: Callable[[str], None] = lambda mark: None
        self._cleared: Callable[[int, int], None] = lambda played, dropped: None

    def attach(self, played: Callable[[str], None], cleared: Callable[[int, int], None]) -> None:
        """Whom to tell."""
        self._played, self._cleared = played, cleared

    def clock(self) -> float:
        return self.now

    @property
    def waiting_ms(self) -> int:
        return self.received_ms - self.played_ms - self._dropped_ms

    def play(self, ms: int) -> None:
        """So much time passes at the listener."""
        self.now += ms / 1000
        self.played_ms += min(ms, self.waiting_ms)
        position = self.played_ms + self._dropped_ms
        reached = [mark for mark in self._marks if mark[0] <= position]
        self._marks = [mark for mark in self._marks if mark[0] > position]
        for _, name in reached:
            if self.tells:
                self._played(name)

    # ---- Sink --------------------------------------------------------------------------------------

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, mulaw: bytes) -> None:
        self.speaker, self.to = speaker, target or ""
        self.received_ms += len(mulaw) // OCTETS_PER_MS

    def clear(self, target: str | None) -> None:
        dropped = self.waiting_ms
        self._dropped_ms += dropped
        self._marks.clear()
        played, self._reported_ms = self.played_ms - self._reported_ms, self.played_ms
        if self.tells:
            self._cleared(played, dropped)

    def mark(self, target: str, name: str) -> None:
        self._marks.append((self.received_ms, name))

    def partial(self, segment_id: str, speaker: str, language: str, text: str, timestamp_ms: int) -> None:
        self.partials.append(text)

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
        told = {"speaker": speaker, "language": language, "text": text, "metadata": metadata}
        self.finals.append(told | {"translation": translation})

    def settled(
        self, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Of a turn that was translated after a hand-over."""

    def timed(self, segment_id: str, speaker: str, timing_ms: dict[str, int]) -> None:
        self.timings.append((speaker, timing_ms))

    def acts_as(self, mode: str | None) -> None:
        self.modes.append(mode)

    def processing(self, running: bool) -> None:
        self.working.append(running)

    def transfer(self, target: str, to: str) -> None:
        self.done.append(("transfer", target, to))

    def end_call(self, target: str, reason: str | None) -> None:
        self.done.append(("end_call", target))

    def failed(self, code: str, message: str) -> None:
        self.errors.append(code)


async def until(condition: Callable[[], object]) -> None:
    """Let others run until it is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.001)
