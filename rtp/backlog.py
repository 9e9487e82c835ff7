"""The return leg's backlog: audio that waits longer than the lead, and does so for ever unless something is done.

A sender in real time that stalled and then sent what it owed has put its whole stall into the queue, and so does,
slowly, a sender whose clock is faster than ours. A sender that bursts a sentence has a long queue too, and every
right to it. They are told apart by how audio arrives: a second in which it came in nearly every frame, at about the
speed of sound, is a second of a real-time sender; what its queue never fell below in that second, beyond the lead,
is backlog.

Owns that judgement. Refuses to know how the backlog is worked off (`timescale`, by `playout`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
I64 = npt.NDArray[np.int64]

WINDOW: Final = 50  #: frames of 20 ms that are judged together: 1 s
STEADY: Final = 35  # frames of them in which audio arrived
RATE: Final = (6400, 10_000)  # samples that arrive in a second of a real-time sender; 8000 and its stalls
SLACK: Final = 160  # samples beyond the lead that are left alone: jitter of the sender

_FAR: Final = 1 << 40


class Backlog:
    """Columns over `capacity` rows. excess: (capacity,) int64, samples that are to be worked off."""

    def __init__(self, capacity: int, lead: int) -> None:
        self.excess: I64 = np.zeros(capacity, np.int64)
        self._lead = lead
        self._frames = np.zeros(capacity, np.int64)  # of the present window
        self._arrivals = np.zeros(capacity, np.int64)  # frames of them in which audio came
        self._least = np.full(capacity, _FAR, np.int64)  # smallest queue in the window
        self._written = np.zeros(capacity, np.int64)  # at the last frame …
        self._begun = np.zeros(capacity, np.int64)  # … and at the window's start

    def reset(self, rows: Rows) -> None:
        """A new leg, whose counters begin at zero."""
        for column in (self.excess, self._frames, self._arrivals, self._written, self._begun):
            column[rows] = 0
        self._least[rows] = _FAR

    def observe(self, rows: Rows, written: I64, available: I64) -> None:
        """A frame of each row is about to be played. written, available: (k,) samples, ever and in the queue."""
        self._arrivals[rows] += written != self._written[rows]
        self._written[rows] = written
        self._least[rows] = np.minimum(self._least[rows], available)
        frames = self._frames[rows] + 1
        self._frames[rows] = frames
        over = frames >= WINDOW
        if np.count_nonzero(over):
            self._judge(rows[over], written[over])

    def worked_off(self, rows: Rows, samples: I64) -> None:
        """So much of the excess is gone."""
        self.excess[rows] = np.maximum(self.excess[rows] - samples, 0)

    def _judge(self, rows: Rows, written: I64) -> None:
        came = written - self._begun[rows]
        steady = (self._arrivals[rows] >= STEADY) & (came >= RATE[0]) & (came <= RATE[1])
        excess = self._least[rows] - self._lead - SLACK
        self.excess[rows] = np.where(steady, np.maximum(excess, 0), 0)
        self._frames[rows] = 0
        self._arrivals[rows] = 0
        self._least[rows] = _FAR
        self._begun[rows] = written
