"""Where the time of a turn went, told once: to the metrics, and to the streams, whose gateways write it into the record
of the call. Owns the moment when a turn's account is closed. Knows neither metric nor message.
"""

from __future__ import annotations

from typing import Protocol

from gateway.speech.turn import Turn


class Measures(Protocol):
    """What is counted of interpreters."""

    def timed(self, moment: str, seconds: float, of: str) -> None:
        """A moment of a turn (`turn.MOMENTS`), from the end of speech. of: translation or answer."""

    def counted(self, event: str) -> None:
        """turn, interrupted, failed_<stage>, dropped_<what>."""


class Told(Protocol):
    def timed(self, segment_id: str, speaker: str, timing_ms: dict[str, int]) -> None: ...


class Timekeeper:
    """One session's. of: what its turns are followed by, translation or answer."""

    def __init__(self, sink: Told, measures: Measures, of: str) -> None:
        self._sink, self._measures, self._of = sink, measures, of

    def tell(self, turn: Turn) -> None:
        """No further moment of it will be waited for. The first time counts."""
        timing = turn.timing()
        if turn.timed or not timing:
            return
        turn.timed = True
        for moment, seconds in timing.items():
            self._measures.timed(moment, max(0.0, seconds), self._of)
        self._sink.timed(turn.segment_id, turn.speaker, turn.timing_ms())
