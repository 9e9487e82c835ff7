"""One speaker's turns, as they happen: when one begins, its audio, its pauses, its end.

Owns the division of the audio; whether a window is speech is `endpointing.py`'s. A turn ends after `hangover_ms` of
silence. A shorter pause is told when it has lasted `clause_ms`, so that what was said before it can be worked on; its
audio is held back meanwhile, and belongs to the turn only if speech goes on: the silence at a turn's end is given to
nobody, who might hear words in it. Time is the speaker's media clock; a hole in it is silence. Knows no engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.speech import mulaw
from gateway.speech.endpointing import WINDOW_MS, Activity, Tuning, levels_db
from gateway.speech.interpreter import OCTETS_PER_MS

_WINDOW: Final = WINDOW_MS * OCTETS_PER_MS


@dataclass(frozen=True)
class Began:
    """A turn begins; its audio follows. at_ms: media time of the first sound, the pre-roll not counted."""

    at_ms: int


@dataclass(frozen=True)
class Spoke:
    """The turn's next audio. voiced_ms: so much of the turn has been speech by now."""

    mulaw: bytes
    voiced_ms: int


@dataclass(frozen=True)
class Paused:
    """The speaker pauses. at_ms: media time at which the last sound ended."""

    at_ms: int


@dataclass(frozen=True)
class Ended:
    """The turn is over. end_ms: media time at which the last sound ended. cut: it was too long, and may go on."""

    start_ms: int
    end_ms: int
    voiced_ms: int
    cut: bool = False


Event = Began | Spoke | Paused | Ended


class Turns:
    """Feed audio in order, get what happens."""

    def __init__(self, tuning: Tuning, clause_ms: int) -> None:
        self._tuning = tuning
        self._clause_ms = clause_ms
        self._activity = Activity(tuning)
        self._held = bytearray()  # before a turn: the pre-roll; within: the silence since the last sound
        self._rest = bytearray()  # less than a window, not judged yet
        self._clock_ms = 0  # media time after everything judged
        self._loud_ms = self._quiet_ms = self._voiced_ms = 0
        self._start_ms = 0
        self._paused = False
        self.speaking = False

    def push(self, timestamp_ms: int, octets: bytes) -> list[Event]:
        """The next piece. timestamp_ms: media time of its first sample."""
        events: list[Event] = []
        ahead = timestamp_ms - (self._clock_ms + len(self._rest) // OCTETS_PER_MS)
        if not -WINDOW_MS <= ahead <= WINDOW_MS:
            if 0 < ahead < self._tuning.hangover_ms and self.speaking:
                self._rest += mulaw.SILENCE * (ahead * OCTETS_PER_MS)
            else:
                events += self.flush()
                self._clock_ms = timestamp_ms
        self._rest += octets
        whole = len(self._rest) // _WINDOW * _WINDOW
        if whole:
            judged = bytes(self._rest[:whole])
            del self._rest[:whole]
            for number, level in enumerate(levels_db(judged)):
                self._judge(level, judged[number * _WINDOW : (number + 1) * _WINDOW], events)
        return events

    def flush(self) -> list[Event]:
        """End what is in progress: the speaker has gone, or the clock jumped."""
        events: list[Event] = []
        if self.speaking:
            self._end(events)
        self._held.clear()
        self._rest.clear()
        self._loud_ms = self._quiet_ms = 0
        return events

    def _judge(self, level: float, window: bytes, events: list[Event]) -> None:
        self._clock_ms += WINDOW_MS
        loud = self._activity.is_loud(level, speaking=self.speaking)
        if loud:
            self._loud_ms += WINDOW_MS
        else:
            self._loud_ms = 0
        if self.speaking:
            self._go_on(loud, window, events)
        else:
            self._held += window
            if self._loud_ms >= self._tuning.onset_ms:
                self._begin(events)
            else:
                surplus = len(self._held) - (self._tuning.preroll_ms + self._tuning.onset_ms) * OCTETS_PER_MS
                if surplus > 0:
                    del self._held[:surplus]

    def _begin(self, events: list[Event]) -> None:
        self.speaking, self._paused = True, False
        self._quiet_ms, self._voiced_ms = 0, self._loud_ms
        self._start_ms = self._clock_ms - self._loud_ms
        events.append(Began(self._start_ms))
        self._give(events)

    def _go_on(self, loud: bool, window: bytes, events: list[Event]) -> None:
        self._held += window
        if loud:
            self._quiet_ms, self._paused = 0, False
            self._voiced_ms += WINDOW_MS
            self._give(events)
            if self._clock_ms - self._start_ms >= self._tuning.longest_ms:
                self._end(events, cut=True)
            return
        self._quiet_ms += WINDOW_MS
        if self._quiet_ms >= self._tuning.hangover_ms:
            self._end(events)
        elif self._quiet_ms >= self._clause_ms and not self._paused:
            self._paused = True
            # A little of the silence, for the last consonant; the rest is held until somebody speaks on.
            self._give(events, self._tuning.tail_ms)
            events.append(Paused(self._clock_ms - self._quiet_ms))

    def _give(self, events: list[Event], most_ms: int | None = None) -> None:
        octets = len(self._held) if most_ms is None else most_ms * OCTETS_PER_MS
        if self._held[:octets]:
            events.append(Spoke(bytes(self._held[:octets]), self._voiced_ms))
            del self._held[:octets]

    def _end(self, events: list[Event], *, cut: bool = False) -> None:
        if not self._paused:
            self._give(events, self._tuning.tail_ms)
        events.append(Ended(self._start_ms, self._clock_ms - self._quiet_ms, self._voiced_ms, cut))
        self.speaking, self._paused = False, False
        self._held.clear()
        self._loud_ms = self._quiet_ms = 0
