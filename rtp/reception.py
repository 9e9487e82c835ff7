"""What arrived, per leg: sequence validity, loss, duplicates, order and jitter (RFC 3550 A.1, A.3, A.8).

One difference from A.1: the first packet of a leg is believed at once, since its address already is
(`source_lock.py`); every *later* break, a new SSRC or a jump in sequence, must be confirmed by a second
packet in sequence. So a stray packet costs nothing, and a real change costs one packet.
Owns the receiver's half of an RTCP report. Refuses to know payloads and play-out: late packets are
`jitter.py`'s to count.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtp.errors import RejectReason
from rtp.serial import I64, U16, U32, delta32_array

Rows = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

MAX_DROPOUT: Final = 3000  # RFC 3550 A.1: packets that may be missing in a row, one minute
MAX_MISORDER: Final = 100  # RFC 3550 A.1: packets that one may come late
WINDOW: Final = 64  #: duplicates are told from late packets within this many

_NS_PER_SAMPLE: Final = 125_000.0  # 8000 Hz
_NOT_JITTER: Final = 16_000.0  # samples: a step of 2 s is a new timestamp base, and no jitter of the network
_NOBODY: Final = -1  # in an SSRC column
_ONE: Final = np.uint64(1)
_NEVER: Final = -1  # in a time column


class Arrival(NamedTuple):
    """What `Reception.update` says of each packet."""

    reject: npt.NDArray[np.uint8]  # OK, DUPLICATE, or BAD_SEQUENCE while a break is not confirmed
    restarted: Bools  # this packet begins a new stream: the first one, a new SSRC, a confirmed jump


class Block(NamedTuple):
    """The fields of a reception report block (RFC 3550 §6.4.1) that are ours to fill."""

    ssrc: int
    fraction_lost: int  # of 256, since the last report
    cumulative_lost: int  # −2²³…2²³−1
    highest_sequence: int  # with the cycles in the high half
    jitter: int  # timestamp units


class Reception:
    """Columns over `capacity` leg rows. Public columns are read by statistics and written here only.

    received: packets that were believed, duplicates included, as A.3 wants it. jitter: A.8, in samples.
    """

    def __init__(self, capacity: int) -> None:
        self.ssrc = np.full(capacity, _NOBODY, dtype=np.int64)
        self.highest = np.zeros(capacity, dtype=np.int64)  # endless sequence count
        self.received = np.zeros(capacity, dtype=np.int64)
        self.duplicates = np.zeros(capacity, dtype=np.int64)
        self.reordered = np.zeros(capacity, dtype=np.int64)
        self.ssrc_changes = np.zeros(capacity, dtype=np.int64)
        self.jitter = np.zeros(capacity, dtype=np.float64)
        self._base = np.zeros(capacity, dtype=np.int64)  # `highest` at the start of the stream
        self._seen = np.zeros(capacity, dtype=np.uint64)  # bit k: sequence highest − k has come
        self._past_expected = np.zeros(capacity, dtype=np.int64)  # of streams that are over
        self._past_received = np.zeros(capacity, dtype=np.int64)
        self._next_ssrc = np.full(capacity, _NOBODY, dtype=np.int64)  # what would confirm a break
        self._next_sequence = np.zeros(capacity, dtype=np.uint16)
        self._arrival_ns = np.full(capacity, _NEVER, dtype=np.int64)  # of the last timed packet
        self._timestamp = np.zeros(capacity, dtype=np.uint32)
        self._reported_expected = np.zeros(capacity, dtype=np.int64)
        self._reported_received = np.zeros(capacity, dtype=np.int64)

    def reset(self, rows: Rows | int) -> None:
        """Forget everything about these rows: they belong to other legs now."""
        for column in vars(self).values():
            column[rows] = 0
        self.ssrc[rows] = _NOBODY
        self._next_ssrc[rows] = _NOBODY
        self._arrival_ns[rows] = _NEVER

    def update(
        self,
        rows: Rows,
        sequence: U16,
        timestamp: U32,
        ssrc: U32,
        arrival_ns: I64 | int,
        timed: Bools | None = None,
    ) -> Arrival:
        """Account for one packet of each row. rows: unique. arrival_ns: monotonic, (n,) or one for all.

        timed: which packets count for jitter (telephone-event packets repeat their timestamp and must not).
        """
        reject = np.zeros(len(rows), dtype=np.uint8)
        restarted = np.zeros(len(rows), dtype=np.bool_)
        highest = self.highest[rows]
        step = (sequence - highest.astype(np.uint16)).view(np.int16)  # serial arithmetic
        usual = (step == 1) & (ssrc == self.ssrc[rows])
        regular = rows if np.count_nonzero(usual) == len(rows) else rows[usual]
        self.highest[regular] += 1
        self._seen[regular] = self._seen[regular] << _ONE | _ONE
        self.received[regular] += 1
        if len(regular) != len(rows):
            self._unusual(np.flatnonzero(~usual), rows, step, sequence, ssrc, reject, restarted)
        if timed is None and not np.count_nonzero(reject):
            self._measure_jitter(rows, timestamp, arrival_ns)
        else:
            good = reject == RejectReason.OK
            if timed is not None:
                good &= timed
            arrival = np.broadcast_to(np.asarray(arrival_ns, dtype=np.int64), rows.shape)[good]
            self._measure_jitter(rows[good], timestamp[good], arrival)
        return Arrival(reject, restarted)

    def _unusual(
        self,
        at: Rows,
        rows: Rows,
        step: npt.NDArray[np.int16],
        sequence: U16,
        ssrc: U32,
        reject: npt.NDArray[np.uint8],
        restarted: Bools,
    ) -> None:
        """The packets `at` of the batch that are not simply the next one of their stream."""
        row = rows[at]
        by = step[at].astype(np.int64)
        near = (ssrc[at] == self.ssrc[row]) & (by < MAX_DROPOUT) & (by > -MAX_MISORDER)
        ahead = near & (by > 0)
        skipping = np.count_nonzero(ahead)
        if skipping:
            self._skip_ahead(row[ahead], by[ahead])
        if skipping == len(at):
            return
        behind = near & (by <= 0)
        twice = self._step_back(row[behind], -by[behind])
        reject[at[behind][twice]] = RejectReason.DUPLICATE

        broken = ~near
        confirmed = (ssrc[at] == self._next_ssrc[row]) & (sequence[at] == self._next_sequence[row])
        start = broken & (confirmed | (self.ssrc[row] == _NOBODY))
        self._restart(row[start], sequence[at[start]], ssrc[at[start]])
        restarted[at[start]] = True
        waiting = broken & ~start
        reject[at[waiting]] = RejectReason.BAD_SEQUENCE
        self._next_ssrc[row[waiting]] = ssrc[at[waiting]]
        self._next_sequence[row[waiting]] = sequence[at[waiting]] + np.uint16(1)

    def _skip_ahead(self, rows: Rows, by: I64) -> None:
        """Packets that are newer than expected. by: steps, 1…MAX_DROPOUT−1."""
        self.highest[rows] += by
        shifted = self._seen[rows] << np.minimum(by, WINDOW - 1).astype(np.uint64)
        self._seen[rows] = np.where(by < WINDOW, shifted, 0) | _ONE
        self.received[rows] += 1

    def _step_back(self, rows: Rows, age: I64) -> Bools:
        """Packets that are as old as the newest or older. age: 0…MAX_MISORDER−1. True: came before."""
        inside = age < WINDOW
        bit = np.where(inside, _ONE << np.minimum(age, WINDOW - 1).astype(np.uint64), 0)
        seen = self._seen[rows]
        twice: Bools = (seen & bit) != 0
        self._seen[rows] = seen | bit
        self.received[rows] += 1
        self.duplicates[rows] += twice
        self.reordered[rows] += ~twice
        return twice

    def _restart(self, rows: Rows, sequence: U16, ssrc: U32) -> None:
        """RFC 3550 A.1 init_seq; the totals of the leg go on."""
        had = self.ssrc[rows] != _NOBODY
        self._past_expected[rows] += np.where(had, self.highest[rows] - self._base[rows] + 1, 0)
        self._past_received[rows] = self.received[rows]
        self.ssrc_changes[rows] += had & (self.ssrc[rows] != ssrc)
        self.ssrc[rows] = ssrc
        self.highest[rows] = sequence
        self._base[rows] = sequence
        self._seen[rows] = 1
        self.received[rows] += 1
        self._next_ssrc[rows] = _NOBODY
        self._arrival_ns[rows] = _NEVER
        self.jitter[rows] = 0.0
        self._reported_expected[rows] = 0
        self._reported_received[rows] = 0

    def _measure_jitter(self, rows: Rows, timestamp: U32, arrival_ns: I64 | int) -> None:
        """RFC 3550 A.8 on differences, so that neither uptime nor wraps of the timestamp cost precision."""
        before = self._arrival_ns[rows]
        spacing = (arrival_ns - before) / _NS_PER_SAMPLE
        away = np.abs(spacing - delta32_array(timestamp, self._timestamp[rows]))
        jitter = self.jitter[rows]
        comparable = (before != _NEVER) & (away < _NOT_JITTER)
        self.jitter[rows] = jitter + (away - jitter) * (comparable / 16.0)
        self._arrival_ns[rows] = arrival_ns
        self._timestamp[rows] = timestamp

    def expected(self, rows: Rows) -> I64:
        """(n,) packets that should have come since the leg opened, all its streams together."""
        now = np.where(self.ssrc[rows] == _NOBODY, 0, self.highest[rows] - self._base[rows] + 1)
        total: I64 = self._past_expected[rows] + now
        return total

    def export(self, stats: npt.NDArray[np.void], rows: Rows) -> None:
        """Write these rows' figures into `plane.STATS` rows of the same index."""
        expected = self.expected(rows)
        stats["packets_received"][rows] = self.received[rows]
        stats["packets_expected"][rows] = expected
        stats["packets_lost"][rows] = expected - self.received[rows]
        stats["packets_duplicate"][rows] = self.duplicates[rows]
        stats["packets_reordered"][rows] = self.reordered[rows]
        stats["ssrc_changes"][rows] = self.ssrc_changes[rows]
        stats["jitter_ms"][rows] = self.jitter[rows] / 8.0

    def report(self, row: int) -> Block | None:
        """The report block of one leg and the start of its next interval; None before the first packet."""
        ssrc = int(self.ssrc[row])
        if ssrc == _NOBODY:
            return None
        expected = int(self.highest[row] - self._base[row]) + 1
        received = int(self.received[row] - self._past_received[row])
        expected_now = expected - int(self._reported_expected[row])
        lost_now = expected_now - (received - int(self._reported_received[row]))
        self._reported_expected[row] = expected
        self._reported_received[row] = received
        # A.3: a negative loss (duplicates) is reported as none, and a fraction is of 256.
        fraction = min(lost_now * 256 // expected_now, 255) if expected_now > 0 and lost_now > 0 else 0
        return Block(
            ssrc=ssrc,
            fraction_lost=fraction,
            cumulative_lost=max(-(1 << 23), min(expected - received, (1 << 23) - 1)),
            highest_sequence=int(self.highest[row]) & 0xFFFF_FFFF,
            jitter=min(int(self.jitter[row]), 0xFFFF_FFFF),
        )
