"""Which `audio.input` is new: one speaker's numbers, across reconnections and replays.

After a reconnection a client repeats what it thinks was missed, with the original `sequence` and
`timestamp_ms` (contract §2). A number is dropped when it came before with the same time. A number that
came before with another time, or that is far older than any replay, belongs to a sender that began to
count anew (a second call of the same speaker), and starts a new count.
"""

from __future__ import annotations

from array import array
from typing import Final

#: Numbers remembered: ten seconds of 20 ms frames, twice what a gateway keeps for a replay.
REMEMBERED: Final = 512


class Sequence:
    """The numbers of one speaker. `replayed`: dropped as known; `restarts`: new counts begun."""

    __slots__ = ("_numbers", "_times", "highest", "replayed", "restarts")

    def __init__(self) -> None:
        self.highest = -1
        self.replayed = 0
        self.restarts = 0
        self._numbers = array("q", [-1]) * REMEMBERED
        self._times = array("q", [0]) * REMEMBERED

    def accept(self, sequence: int, timestamp_ms: int) -> bool:
        """True: new, to be used. False: heard before."""
        slot = sequence % REMEMBERED
        if sequence <= self.highest:
            if self._numbers[slot] == sequence and self._times[slot] == timestamp_ms:
                self.replayed += 1
                return False
            self.restarts += 1
        self.highest = sequence
        self._numbers[slot] = sequence
        self._times[slot] = timestamp_ms
        return True
