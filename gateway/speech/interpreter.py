"""What the session service and an interpreter say to each other.

Owns the two interfaces. An interpreter serves one session: it is fed each speaker's audio in order and
answers through the sink whenever it likes, always on the event loop's thread. Knows no engine, no socket.
"""

from __future__ import annotations

from typing import Any, Protocol

#: Everywhere in this package: one channel of G.711 mu-law, 8000 octets a second, 8 a millisecond.
OCTETS_PER_MS = 8


class Sink(Protocol):
    """Where an interpreter's answers go."""

    def audio(self, speaker: str, target: str | None, timestamp_ms: int, mulaw: bytes) -> None:
        """Audio for `target` to hear (None: everyone but `speaker`), whose words are `speaker`'s.

        timestamp_ms: the position of those words on the speaker's media clock.
        """

    def clear(self, target: str | None) -> None:
        """Drop what is queued for `target` and not yet played: somebody interrupts."""

    def mark(self, target: str, name: str) -> None:
        """Be told by `played` when `target` has heard everything up to here. Some streams know no marks."""

    def partial(self, segment_id: str, speaker: str, language: str, text: str, timestamp_ms: int) -> None:
        """A guess at what is being said; the next one with this segment id replaces it."""

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
        """A finished turn. translation: (language, text). metadata: what else the transcript is to say of it."""

    def settled(self, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]) -> None:
        """What became of a turn that `final` has told: what was heard of its translation, and when."""

    def timed(self, segment_id: str, speaker: str, timing_ms: dict[str, int]) -> None:
        """Where the time of a turn went, once: its moments (`turn.MOMENTS`) from the end of speech."""

    def acts_as(self, mode: str | None) -> None:
        """The session goes on as one of another mode, and who hears whom follows from it; None: of its own again."""

    def processing(self, running: bool) -> None:
        """The agent begins, or ends, to work on an answer: what `ai_agent_seconds` counts."""

    def transfer(self, target: str, to: str) -> None:
        """Have `target` connected with another party by its PBX (REFER)."""

    def end_call(self, target: str, reason: str | None) -> None:
        """End the call of `target`."""

    def failed(self, code: str, message: str) -> None:
        """Something is wrong with the interpretation; the stream stays open."""


class Interpreter(Protocol):
    """One session's interpreter."""

    def joined(self, speaker: str) -> None:
        """A party is there to speak and to hear. May be told more than once."""

    def left(self, speaker: str) -> None:
        """A party has gone. What it said so far still counts."""

    def audio(self, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        """The next audio of a speaker. timestamp_ms: media time of its first sample."""

    def played(self, target: str, mark: str) -> None:
        """`target` has heard everything up to this mark."""

    def cleared(self, target: str, played_ms: int, dropped_ms: int) -> None:
        """Play-out was cut short, by `Sink.clear` or because a leg ended. Both count from the report before."""

    def refused(self, target: str, message: str) -> None:
        """The gateway could not do what it was asked to do with the call of `target`."""

    def close(self) -> None:
        """The session ends: finish what is begun, then answer no more."""
