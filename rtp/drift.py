"""The difference between the sender's clock and ours, in parts per million.

A least-squares line through (time, smallest transit of a block of packets), older blocks counting less. The
sums are kept with the newest block as the origin of time, so they stay small however long a call lasts.
Owns the fit. Refuses to know packets and what is done about the drift.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.intp]

MEMORY: Final = 40  # blocks after which one counts 1/e: about 200 s of speech
FEWEST: Final = 6  # blocks before the slope is believed
STEP: Final = 40.0  # samples (5 ms) off the line, twice on the same side: the path changed, not the clock …
STEP_SPREADS: Final = 5.0  # … when that is also this many times the usual distance from the line
PPM_PER_SAMPLE_PER_S: Final = 125.0  # one sample of 125 µs in a second
USUAL: Final = 50 / PPM_PER_SAMPLE_PER_S  # samples per second, of two clocks taken at random
MOST: Final = 500.0  # ppm; no sound card is worse


class Drift:
    """Columns over `capacity` rows.

    ppm: (capacity,) float64, how much *faster* than ours the sender's clock runs; 0 until it is known.
    """

    def __init__(self, capacity: int) -> None:
        self.ppm: F64 = np.zeros(capacity)
        self._blocks: I64 = np.zeros(capacity, dtype=np.int64)
        self._time_ns: I64 = np.zeros(capacity, dtype=np.int64)  # of the newest block, x = 0
        self._transit: I64 = np.zeros(capacity, dtype=np.int64)  # what y counts from
        # Weighted sums of 1, x, x², y, xy; x in seconds, y in samples.
        self._s0, self._sx, self._sxx, self._sy, self._sxy = (np.zeros(capacity) for _ in range(5))
        self._off: F64 = np.zeros(capacity)  # how far the last block was off the line, if far
        self._spread: F64 = np.zeros(capacity)  # usual distance of a block from the line

    def reset(self, rows: Rows) -> None:
        """A new sender."""
        self.ppm[rows] = 0.0
        self.new_base(rows)

    def new_base(self, rows: Rows) -> None:
        """Transits are counted from elsewhere now; the figure stays until there is a better one."""
        self._blocks[rows] = 0

    def add(self, rows: Rows, time_ns: I64, transit: I64) -> None:
        """One block of each row: (k,) ns when it ended, (k,) its smallest transit in samples."""
        fresh = self._blocks[rows] == 0
        if np.count_nonzero(fresh):
            f = rows[fresh]
            self._time_ns[f], self._transit[f] = time_ns[fresh], transit[fresh]
            for column in (self._s0, self._sx, self._sxx, self._sy, self._sxy, self._off, self._spread):
                column[f] = 0.0
        step = (time_ns - self._time_ns[rows]) / 1e9
        y = (transit - self._transit[rows]).astype(np.float64)
        keep = 1 - 1 / MEMORY
        s0, sx, sy = self._s0[rows], self._sx[rows], self._sy[rows]
        sxx, sxy = self._sxx[rows], self._sxy[rows]
        sxx = keep * (sxx - 2 * step * sx + step * step * s0)
        sxy = keep * (sxy - step * sy)
        sx = keep * (sx - step * s0)
        s0, sy = keep * s0, keep * sy
        blocks = self._blocks[rows] + 1

        spread = self._spread[rows]
        slope = _slope(s0, sx, sxx, sy, sxy, spread)
        line = (sy - slope * sx) / np.maximum(s0, 1e-9)  # at x = 0
        distance = np.abs(y - line)
        far = (blocks > FEWEST) & (distance > np.maximum(STEP, STEP_SPREADS * spread))
        self._spread[rows] = np.where(far | (blocks < 3), spread, spread + (distance - spread) / 8)
        off = np.where(far, y - line, 0.0)
        # Twice off on the same side: lift the whole line by that much, and go on with its slope.
        stepped = off * self._off[rows] > 0
        lift = np.where(stepped, off, 0.0)
        sxy, sy = sxy + lift * sx, sy + lift * s0
        self._off[rows] = np.where(stepped, 0.0, off)
        # Once off may be chance, or the first block of a step: it does not count until the next one tells.
        weight = np.where((off != 0) & ~stepped, 0.0, 1.0)
        self._s0[rows], self._sx[rows], self._sxx[rows] = s0 + weight, sx, sxx
        self._sy[rows], self._sxy[rows] = sy + weight * y, sxy
        self._time_ns[rows] = time_ns
        self._blocks[rows] = blocks
        # A fast sender's positions run ahead of our clock: its transits fall.
        ppm = -PPM_PER_SAMPLE_PER_S * _slope(s0 + weight, sx, sxx, sy + weight * y, sxy, spread)
        self.ppm[rows] = np.where(blocks >= FEWEST, np.clip(ppm, -MOST, MOST), self.ppm[rows])


def _slope(s0: F64, sx: F64, sxx: F64, sy: F64, sxy: F64, spread: F64) -> F64:
    """Samples per second. While blocks are few and scatter it is drawn towards what clocks usually do: nothing."""
    width = np.maximum(s0, 1.0)
    doubt = (spread / USUAL) ** 2 + 1e-6
    slope: F64 = (sxy - sx * sy / width) / (np.maximum(sxx - sx * sx / width, 0.0) + doubt)
    return slope
