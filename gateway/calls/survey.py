"""Once a second, the running statistics of all legs at once: who is well, and of the others what changed.

Nearly all calls are well nearly always, so that is found by a few comparisons of columns, and nothing else is done
for them. Owns the figures of this second and of the one before. Refuses to know calls, and what the figures mean
beyond "well": `diagnosis.py` has the rules.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.calls.diagnosis import SILENT_FRAMES, WATCHED
from rtp.engine import Leg

_LAST_PACKET, _REFUSED, _UP, _SILENT = (
    WATCHED.index(name) for name in ("last_packet_ns", "packets_refused", "frames_up", "frames_silent")
)


class Second(NamedTuple):
    """A leg's figures by their name. grown: since the second before. number: of the second, counting up."""

    number: int
    now: dict[str, float]
    grown: dict[str, float]


class Survey:
    """capacity: rows of the audio plane."""

    def __init__(self, capacity: int) -> None:
        self._number = 0
        self._now = np.zeros((len(WATCHED), capacity))
        self._before = np.zeros((len(WATCHED), capacity))
        self._generation = np.zeros(capacity, np.uint64)
        self._known = np.zeros(capacity, np.bool_)
        self._well: list[int] = [0] * capacity  # the generation of a row's leg, 0: not well

    def take(self, stats: npt.NDArray[np.void]) -> None:
        """A second has passed. stats: (capacity,) of `rtp.plane.STATS`."""
        self._number += 1
        self._before, self._now = self._now, self._before
        before, now = self._before, self._now
        for column, name in zip(now, WATCHED, strict=True):
            column[:] = stats[name]
        generation = stats["generation"]
        self._known = (generation == self._generation) & (generation != 0)
        self._generation[:] = generation
        well = self._known & (now[_LAST_PACKET] > before[_LAST_PACKET]) & (now[_REFUSED] == before[_REFUSED])
        well &= (now[_UP] < SILENT_FRAMES) | (now[_SILENT] < now[_UP])
        self._well = np.where(well, self._generation, 0).tolist()

    def is_well(self, leg: Leg) -> bool:
        """Packets came in the last second, none of ours was refused, and it has not all been silence."""
        return self._well[leg.row] == leg.generation

    def of(self, leg: Leg) -> Second | None:
        """What is known of a leg; None in its first second."""
        row = leg.row
        if not self._known[row] or int(self._generation[row]) != leg.generation:
            return None
        now, before = self._now[:, row].tolist(), self._before[:, row].tolist()
        grown = [b - a for a, b in zip(before, now, strict=True)]
        return Second(self._number, dict(zip(WATCHED, now, strict=True)), dict(zip(WATCHED, grown, strict=True)))
