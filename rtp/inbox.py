"""Datagrams that have arrived and wait for the next slot, in rounds of at most one per leg.

Sockets are read several times in a slot, so that an arrival is known to a fraction of it; what was read is looked at
once, for work on columns costs much the same for one leg as for a hundred. Owns those buffers. Refuses to know what is
in a datagram.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtp.srtp import Pointer, pointer_to

#: Datagrams of one leg that are taken in one slot; more wait in the kernel. Bounds what a flood can cost.
ROUNDS: Final = 8
#: Octets of a datagram that are looked at. Buffers take more, so that a longer one is seen to be longer …
LONGEST: Final = 1500
MTU: Final = 1504  #: … and rows of them begin at multiples of four, which libsrtp needs.


class Batch(NamedTuple):
    """Datagrams of different legs. rows (k,) · octets (k, 1500) uint8 · lengths (k,) · arrival_ns (k,) monotonic."""

    rows: npt.NDArray[np.intp]
    octets: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    arrival_ns: npt.NDArray[np.int64]

    def only(self, which: npt.NDArray[np.intp]) -> Batch:
        """These entries."""
        return Batch(self.rows[which], self.octets[which], self.lengths[which], self.arrival_ns[which])


class Round:
    """A buffer with a row for each leg. A datagram goes to `views[len(rows)]`, and then into the three lists."""

    __slots__ = ("arrivals", "lengths", "octets", "pointers", "rows", "views")

    def __init__(self, capacity: int) -> None:
        buffer = np.zeros((capacity, MTU), np.uint8)
        self.octets = buffer[:, :LONGEST]
        self.views = [row.data for row in buffer]
        at = pointer_to(buffer)
        self.pointers: list[Pointer] = [at + i * MTU for i in range(capacity)]
        self.rows: list[int] = []
        self.lengths: list[int] = []
        self.arrivals: list[int] = []


class Inbox:
    """`rounds[depth[row]]` takes the next datagram of a row, unless `depth[row]` is ROUNDS; then count `depth` up.

    depth: (capacity,) int8, how many datagrams of each row wait.
    """

    def __init__(self, capacity: int) -> None:
        self.rounds = [Round(capacity) for _ in range(ROUNDS)]
        self.depth = np.zeros(capacity, np.int8)

    def put(self, row: int, datagram: npt.NDArray[np.uint8], length: int, now_ns: int) -> None:
        """One that was read elsewhere: (≤ 1500,) octets of its `length`. Dropped when the row has had its share."""
        depth = int(self.depth[row])
        if depth == ROUNDS:
            return
        into = self.rounds[depth]
        into.octets[len(into.rows), : len(datagram)] = datagram
        into.rows.append(row)
        into.lengths.append(length)
        into.arrivals.append(now_ns)
        self.depth[row] = depth + 1

    def batches(self) -> Iterator[Batch]:
        """Everything that waits, in the order of arrival for each leg; then it is empty."""
        for each in self.rounds:
            if not each.rows:
                break
            rows = np.array(each.rows, np.intp)
            yield Batch(
                rows,
                each.octets[: len(rows)],
                np.array(each.lengths, np.int64),
                np.array(each.arrivals, np.int64),
            )
            self.depth[rows] = 0
            each.rows, each.lengths, each.arrivals = [], [], []
