"""Where an utterance begins and ends: energy endpointing on mu-law audio, one speaker.

Owns the decision and the buffer of the utterance in progress. Time is the speaker's media clock; a gap in
it counts as silence. The level is compared with a noise floor that follows the line: it falls at once to
anything quieter and climbs slowly, so a fan or a comfort-noise generator is learnt in a second or two and
speech over it is still found. Knows no session and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import Final

import numpy as np

from gateway.speech import mulaw
from gateway.speech.interpreter import OCTETS_PER_MS

#: The analysis window.
WINDOW_MS: Final = 20
_WINDOW: Final = WINDOW_MS * OCTETS_PER_MS


def levels_db(octets: bytes | bytearray | memoryview) -> list[float]:
    """Level of each whole 20 ms window in dB below full scale; digital silence is −100."""
    windows = len(octets) // _WINDOW
    squares = mulaw.ENERGY[np.frombuffer(octets, np.uint8, count=windows * _WINDOW)]
    if windows == 1:  # a frame at a time, as it comes from a gateway: numpy's overhead would be most of it
        return [10.0 * log10(float(squares.sum()) / _WINDOW + 1e-10)]
    means = squares.reshape(windows, _WINDOW).mean(axis=1).tolist()
    return [10.0 * log10(mean + 1e-10) for mean in means]


@dataclass(frozen=True)
class Tuning:
    """above_floor_db: how far speech stands out. onset_ms: so long before it is believed.

    hangover_ms: silence that ends an utterance. preroll_ms: kept from before the onset, for soft
    consonants. longest_ms: an utterance is cut there, and the next begins. quietest_db: nothing below
    this is ever speech. loudest_floor_db: the floor never climbs above this; lowest_floor_db: nor falls below, for
    after digital silence everything would be loud. kept_db: so much softer speech may become before it is silence.
    tail_ms: kept after the last sound, for soft endings.
    """

    above_floor_db: float = 9.0
    onset_ms: int = 60
    hangover_ms: int = 400
    preroll_ms: int = 200
    longest_ms: int = 15_000
    quietest_db: float = -48.0
    loudest_floor_db: float = -30.0
    climb_db_per_s: float = 6.0
    first_floor_db: float = -55.0
    lowest_floor_db: float = -75.0
    kept_db: float = 3.0
    tail_ms: int = 160


@dataclass(frozen=True)
class Started:
    """Speech began. at_ms: on the speaker's media clock, the pre-roll not counted."""

    at_ms: int


@dataclass(frozen=True)
class Utterance:
    """A finished utterance: pre-roll, speech and its trailing silence. Media time in ms."""

    start_ms: int
    end_ms: int
    mulaw: bytes


class Activity:
    """Whether a window is speech: the level against a noise floor that follows the line."""

    def __init__(self, tuning: Tuning) -> None:
        self.floor_db = tuning.first_floor_db
        self._tuning = tuning

    def is_loud(self, level_db: float, *, speaking: bool = False) -> bool:
        """The next window's. speaking: within an utterance, where its soft parts count too."""
        tuning = self._tuning
        kept = tuning.kept_db if speaking else 0.0
        loud = level_db > max(self.floor_db + tuning.above_floor_db, tuning.quietest_db) - kept
        # The floor climbs in speech too, though four times slower: else a fan that starts in the
        # middle of a word would be speech until the utterance is cut.
        climb = tuning.climb_db_per_s * WINDOW_MS / 1000 / (4 if loud else 1)
        self.floor_db = min(max(level_db, tuning.lowest_floor_db), self.floor_db + climb, tuning.loudest_floor_db)
        return loud


class Endpointer:
    """Feed audio in order, get what began and what is finished."""

    def __init__(self, tuning: Tuning = Tuning()) -> None:
        self.tuning = tuning
        self._activity = Activity(tuning)
        self._audio = bytearray()  # pre-roll while silent, the utterance while speaking
        self._start_ms = 0  # media time of _audio[0]
        self._judged = 0  # octets of _audio that were looked at
        self._loud_ms = 0
        self._quiet_ms = 0
        self.speaking = False

    def push(self, timestamp_ms: int, octets: bytes) -> list[Started | Utterance]:
        """The next piece. timestamp_ms: media time of its first sample."""
        events: list[Started | Utterance] = []
        ahead = timestamp_ms - (self._start_ms + len(self._audio) // OCTETS_PER_MS)
        if not self._audio:
            self._start_ms = timestamp_ms
        elif not -WINDOW_MS <= ahead <= WINDOW_MS:
            if 0 < ahead <= self.tuning.hangover_ms:
                # A hole that is shorter than the pause that would end the utterance: keep the timing.
                self._audio += mulaw.SILENCE * (ahead * OCTETS_PER_MS)
            else:
                events += self.flush()
                self._start_ms = timestamp_ms
        self._audio += octets
        self._judge(events)
        return events

    def flush(self) -> list[Started | Utterance]:
        """End what is in progress: the speaker has gone, or the clock jumped."""
        events: list[Started | Utterance] = []
        if self.speaking:
            self._finish(events, len(self._audio))
        self._audio.clear()
        self._judged = self._loud_ms = self._quiet_ms = 0
        return events

    def _judge(self, events: list[Started | Utterance]) -> None:
        tuning = self.tuning
        if len(self._audio) - self._judged < _WINDOW:
            return
        for level in levels_db(bytes(memoryview(self._audio)[self._judged :])):
            self._judged += _WINDOW
            if self._activity.is_loud(level):
                self._loud_ms += WINDOW_MS
                self._quiet_ms = 0
            else:
                self._quiet_ms += WINDOW_MS
                self._loud_ms = 0
            if not self.speaking:
                if self._loud_ms >= tuning.onset_ms:
                    self.speaking = True
                    events.append(Started(self._at(self._judged) - self._loud_ms))
                else:
                    self._forget(tuning.preroll_ms + tuning.onset_ms)
            elif self._quiet_ms >= tuning.hangover_ms or self._at(self._judged) - self._start_ms >= (tuning.longest_ms):
                self._finish(events, self._judged)

    def _finish(self, events: list[Started | Utterance], end: int) -> None:
        events.append(Utterance(self._start_ms, self._at(end), bytes(memoryview(self._audio)[:end])))
        self._drop(end)
        self.speaking = False
        self._loud_ms = self._quiet_ms = 0

    def _forget(self, keep_ms: int) -> None:
        surplus = self._judged - keep_ms * OCTETS_PER_MS
        if surplus > 0:
            self._drop(surplus)

    def _drop(self, octets: int) -> None:
        del self._audio[:octets]
        self._start_ms += octets // OCTETS_PER_MS
        self._judged = max(0, self._judged - octets)

    def _at(self, octet: int) -> int:
        return self._start_ms + octet // OCTETS_PER_MS
