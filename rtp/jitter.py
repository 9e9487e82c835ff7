"""Timestamp-addressed jitter rings: written by RTP timestamp, read at a cursor, one row per leg.

A row is a circle of `BLOCKS` blocks of 10 ms. Where a packet belongs is arithmetic on its timestamp, so
any ptime, reordering, duplicates and gaps need no special case: a block is valid when its tag is the
block number that is asked for. Nothing is ever cleared; what was played stays as history for concealment.

Owns positions (64-bit sample counts, never wrapping) and the cursor. Refuses to know how much delay is
right (`delay.py`), what to play for a missing block (`conceal.py`), and what time it is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtp.windows import windows

Rows = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCK: Final = 80  #: samples of 10 ms
BLOCKS: Final = 128  #: blocks of a row: 1.28 s
FRAME: Final = 160
RING: Final = BLOCK * BLOCKS
#: How far ahead of the cursor a packet may write: the rest of the circle is history.
AHEAD: Final = RING - 4 * FRAME
#: Positions start here, so that history before the first packet has valid (empty) addresses.
ORIGIN: Final = FRAME << 13
#: How far behind the cursor a packet is late; farther is a jump of the sender's clock.
BEHIND: Final = 30 * 8000
#: A stream that restarts waits for this much of the one before it to be played, at most.
QUEUE: Final = AHEAD // 2

_EMPTY: Final = -1
_SILENCE: Final = 0xFF  # mu-law zero
_WHOLE: Final = (1 << BLOCK) - 1
_FRAME_OFFSETS = np.arange(FRAME, dtype=np.int64)


class Located(NamedTuple):
    """Where a batch of packets belongs, one entry per packet.

    position: of its first sample. late: its play time has passed. restart: the stream (re)starts with it, and
    `restart` has to give it a position.
    """

    position: Positions
    late: Mask
    restart: Mask


class JitterRing:
    """Rings for `capacity` legs. All methods take unique `rows`."""

    def __init__(self, capacity: int) -> None:
        self.audio = np.zeros((capacity, BLOCKS, BLOCK), np.uint8)  # (legs, 128, 80) mu-law
        self.tag = np.full((capacity, BLOCKS), _EMPTY, np.int64)  # block number that stands there
        self.started = np.zeros(capacity, np.bool_)
        self.cursor = np.full(capacity, ORIGIN, np.int64)  # next sample to be read
        self.origin = np.full(capacity, ORIGIN, np.int64)  # position of media time zero
        self.newest = np.full(capacity, ORIGIN, np.int64)  # end of the newest packet
        self._timestamp = np.zeros(capacity, np.uint32)  # of the last packet …
        self._position = np.full(capacity, ORIGIN, np.int64)  # … and where it stands
        self._partial: dict[tuple[int, int], tuple[int, int]] = {}  # (row, index) → block number, bit per sample
        self._flat = self.audio.reshape(-1)
        self._frames = windows(self._flat, FRAME)

    def reset(self, rows: Rows) -> None:
        """Forget everything about these rows."""
        self.audio[rows] = 0xFF
        self.tag[rows] = _EMPTY
        self.started[rows] = False
        for column in (self.cursor, self.origin, self.newest, self._position):
            column[rows] = ORIGIN
        if self._partial:
            gone = set(rows.tolist())
            self._partial = {key: value for key, value in self._partial.items() if key[0] not in gone}

    def locate(
        self, rows: Rows, timestamps: npt.NDArray[np.uint32], lengths: Rows, restarted: Mask | None = None
    ) -> Located:
        """Find the places of a batch of packets, at most one per row.

        timestamps (k,) u32 · lengths (k,) samples · restarted (k,): this packet is of another stream than the
        one before it, whatever its timestamp.
        """
        position = self._position[rows] + (timestamps - self._timestamp[rows]).view(np.int32)
        ahead = position - self.cursor[rows]
        late = ahead + lengths <= 0
        restart = ~self.started[rows] | (ahead > AHEAD) | (ahead < -BEHIND)
        if restarted is not None:
            restart |= restarted
        return Located(position, late & ~restart, restart)

    def restart(self, rows: Rows, lead: Positions) -> Positions:
        """Where streams that (re)start now stand: `lead` samples (k,) ahead of the cursor.

        What still waits of the stream before is played first, unless it is a backlog: that is dropped. The cursor
        stays, so media time has no jump.
        """
        backlog = rows[self.newest[rows] - self.cursor[rows] > QUEUE]
        self.tag[backlog] = _EMPTY
        self.newest[backlog] = self.cursor[backlog]
        ahead = np.maximum(self.cursor[rows] + lead, self.newest[rows])
        position: Positions = (ahead + BLOCK - 1) // BLOCK * BLOCK
        fresh = ~self.started[rows]
        self.origin[rows[fresh]] = position[fresh]
        self.started[rows] = True
        return position

    def store(
        self,
        rows: Rows,
        timestamps: npt.NDArray[np.uint32],
        position: Positions,
        payload: Bytes,
        lengths: Rows,
        late: Mask,
    ) -> Mask:
        """Write located packets; payload (k, width) mu-law from column 0. Returns which were duplicates (k,)."""
        self._timestamp[rows] = timestamps
        self._position[rows] = position
        self.newest[rows] = np.maximum(self.newest[rows], position + lengths)
        return self._store(rows, position, payload, lengths, late)

    def read(self, rows: Rows) -> tuple[Bytes, Mask]:
        """The frame at each cursor: (k, 160) mu-law, and which of its halves are missing (k, 2).

        Does not move the cursor. Bytes of a missing half are whatever stood there.
        """
        cursor = self.cursor[rows]
        number = cursor // BLOCK
        within = cursor - number * BLOCK
        first = number & (BLOCKS - 1)
        second = (first + 1) & (BLOCKS - 1)
        missing = np.empty((len(rows), 2), np.bool_)
        missing[:, 0] = self.tag[rows, first] != number
        missing[:, 1] = self.tag[rows, second] != number + 1
        if np.count_nonzero(within):
            # A cursor inside a block (after time compression): a half needs both blocks that it touches.
            third = self.tag[rows, (first + 2) % BLOCKS] != number + 2
            across = within > 0
            tail = missing[:, 1].copy()
            missing[:, 1] |= across & third
            missing[:, 0] |= across & tail
        return self.frames(rows, cursor), missing

    def frames(self, rows: Rows, position: Positions) -> Bytes:
        """The 160 bytes from each position, valid or not: (k, 160) mu-law, a copy."""
        offset = position % RING
        across = offset > RING - FRAME
        if np.count_nonzero(across):
            return self.samples(rows, position, FRAME)
        frames: Bytes = self._frames[rows * RING + offset].view(np.uint8).reshape(-1, FRAME)
        return frames

    def samples(self, rows: Rows, position: Positions, count: int) -> Bytes:
        """`count` samples from each position, valid or not: (k, count) mu-law."""
        index = (position[:, None] + np.arange(count)) % RING
        index += (rows * RING)[:, None]
        return self._flat.take(index)

    def valid(self, rows: Rows, position: Positions, blocks: int) -> Mask:
        """Whether each of `blocks` blocks from the one at `position` on is there: (k, blocks)."""
        number = (position // BLOCK)[:, None] + np.arange(blocks)
        present: Mask = self.tag[rows[:, None], number % BLOCKS] == number
        return present

    def overwrite(self, rows: Rows, frames: Bytes) -> None:
        """Put what was really played (k, 160) at the cursor, so that history is what was heard."""
        index = (self.cursor[rows][:, None] + _FRAME_OFFSETS) % RING
        self._flat[index + (rows * RING)[:, None]] = frames

    def position_of(self, row: int, timestamp: int) -> int:
        """Where a timestamp of the present stream stands."""
        away = (timestamp - int(self._timestamp[row])) & 0xFFFFFFFF
        return int(self._position[row]) + (away - ((away & 0x80000000) << 1))

    def silence(self, row: int, timestamp: int, count: int) -> None:
        """Make this span silent, whatever stands or will come there: a key's tone is never left in the audio.

        Whole blocks, from the one that holds the first sample to the one that holds the last.
        """
        if not self.started[row]:
            return
        position = self.position_of(row, timestamp)
        begin = max(position, int(self.cursor[row])) // BLOCK
        end = min(position + count, int(self.cursor[row]) + AHEAD)
        for number in range(begin, -(-end // BLOCK)):
            self.audio[row, number % BLOCKS] = _SILENCE
            self.tag[row, number % BLOCKS] = number

    def advance(self, rows: Rows) -> None:
        """One frame on."""
        self.cursor[rows] += FRAME

    def begun(self, rows: Rows) -> Mask:
        """Whether the cursor has reached the stream's first sample: before that there is nothing to play."""
        return self.cursor[rows] >= self.origin[rows]

    def _store(self, rows: Rows, position: Positions, payload: Bytes, lengths: Rows, late: Mask) -> Mask:
        """Write whole blocks; packets that do not cover whole blocks go one by one."""
        duplicate: Mask = np.zeros(len(rows), np.bool_)
        number = position // BLOCK
        odd = ((position - number * BLOCK) != 0) | (lengths % BLOCK != 0)
        skip = late | odd
        every = not np.count_nonzero(skip)
        counts = lengths // BLOCK
        if every and counts.min() == counts.max():
            index = number & (BLOCKS - 1)
            duplicate = self.tag[rows, index] == number
            if counts[0] == 2 and not np.count_nonzero(index == BLOCKS - 1):
                # 20 ms, which is nearly every packet there is: one copy per row
                item = np.ascontiguousarray(payload[:, :FRAME]).view(self._frames.dtype)[:, 0]
                self._frames[rows * RING + index * BLOCK] = item
                self.tag[rows, index] = number
                self.tag[rows, index + 1] = number + 1
                return duplicate
            for j in range(int(counts[0])):
                self._store_block(rows, number + j, payload[:, j * BLOCK : (j + 1) * BLOCK])
            return duplicate
        whole = np.flatnonzero(~skip)
        duplicate[whole] = self.tag[rows[whole], number[whole] % BLOCKS] == number[whole]
        for j in range(int(counts[whole].max(initial=0))):
            some = whole[counts[whole] > j]
            self._store_block(rows[some], number[some] + j, payload[some, j * BLOCK : (j + 1) * BLOCK])
        for i in np.flatnonzero(odd & ~late).tolist():
            duplicate[i] = self._write_unaligned(int(rows[i]), int(position[i]), payload[i, : lengths[i]])
        return duplicate

    def _store_block(self, rows: Rows, number: Positions, block: Bytes) -> None:
        index = number & (BLOCKS - 1)
        self.audio[rows, index] = block
        self.tag[rows, index] = number

    def _write_unaligned(self, row: int, position: int, samples: Bytes) -> bool:
        """A packet that begins or ends inside a block (odd ptime): a block is valid once all of it came.

        Rare, so one packet at a time. Returns whether the packet brought nothing new.
        """
        fresh = False
        end = position + len(samples)
        for number in range(position // BLOCK, (end - 1) // BLOCK + 1):
            index, start = number % BLOCKS, number * BLOCK
            if self.tag[row, index] == number:
                continue
            low, high = max(position, start), min(end, start + BLOCK)
            self.audio[row, index, low - start : high - start] = samples[low - position : high - position]
            known, bits = self._partial.get((row, index), (number, 0))
            covered = (1 << (high - start)) - (1 << (low - start))
            before = bits if known == number else 0
            fresh |= (before | covered) != before
            if before | covered == _WHOLE:
                self.tag[row, index] = number
                self._partial.pop((row, index), None)
            else:
                self._partial[row, index] = (number, before | covered)
        return not fresh
