"""Comfort noise: the payload of RFC 3389 read and written, and the noise itself.

Noise is cut from a circle of one second that is made once: white for every row, or shaped for a row whose sender
described a spectrum. Where a row stands in the circle depends on the row's own history only, so a leg sounds the
same whoever else is there.
Owns the noise. Refuses to know when it is played.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.intp]

FRAME: Final = 160
ORDER_MAX: Final = 12  # reflection coefficients used; RFC 3389 §3 lets a receiver take the rest as zero
QUIETEST: Final = 127  # -dBov, the lowest level that can be said

_CIRCLE: Final = 8192  # samples of noise, 1.024 s: as long as an ear does not notice that it comes again


def _white() -> F32:
    """(8192,) one circle of white noise, rms 1."""
    noise = np.random.default_rng(3389).standard_normal(_CIRCLE)
    circle: F32 = (noise / np.sqrt((noise * noise).mean())).astype(np.float32)
    return circle


_WHITE: Final = _white()
_SPECTRUM: Final = np.fft.rfft(_WHITE.astype(np.float64))
_STEPS: Final = np.arange(FRAME)
#: RFC 3389 §3.2: k = 258 · (N − 127) / 32768 for N = 0 … 254. 255 is not used; it is taken as 254.
_REFLECTION: Final = 258 * (np.minimum(np.arange(256), 254) - 127) / 32768
#: RFC 3389 §3.1: the level in -dBov; as rms in int16 units.
_RMS: Final = (32768 * 10.0 ** (-np.arange(128) / 20)).astype(np.float32)


class ComfortNoise:
    """Columns over `capacity` rows. level: (capacity,) float32, rms that the sender described, int16 units."""

    def __init__(self, capacity: int) -> None:
        self.level: F32 = np.zeros(capacity, dtype=np.float32)
        self._place: I64 = np.zeros(capacity, dtype=np.int64)  # in the circle
        self._shaped: npt.NDArray[np.bool_] = np.zeros(capacity, dtype=bool)
        self._circle: F32 = np.zeros((capacity, _CIRCLE), dtype=np.float32)  # of rows with a spectrum; else untouched
        self._shape: U8 = np.full((capacity, ORDER_MAX), 127, dtype=np.uint8)  # what the circle was made from

    def reset(self, rows: Rows) -> None:
        """A new leg: silence until somebody says otherwise."""
        self.level[rows] = 0.0
        self._place[rows] = 0
        self._shaped[rows] = False
        self._shape[rows] = 127

    def describe(self, row: int, payload: U8) -> None:
        """A comfort noise payload (n,) of one row: level, then reflection coefficients. Empty: nothing changes."""
        if not len(payload):
            return
        self.level[row] = _RMS[payload[0] & 0x7F]  # RFC 3389 §3.1: the first bit is not used
        shape = np.full(ORDER_MAX, 127, dtype=np.uint8)
        coefficients = payload[1 : 1 + ORDER_MAX]
        shape[: len(coefficients)] = coefficients
        self._shaped[row] = bool((shape != 127).any())
        if self._shaped[row] and (shape != self._shape[row]).any():
            self._circle[row] = _shaped_circle(_REFLECTION[shape])
        if self._shaped[row]:
            self._shape[row] = shape

    def noise(self, rows: Rows) -> F32:
        """The next frame of the noise that the rows' senders described: (k, 160) float32, int16 units."""
        index = self._next(rows)
        noise = np.where(self._shaped[rows][:, None], self._circle[rows[:, None], index], _WHITE[index])
        noise *= self.level[rows][:, None]
        return noise

    def background(self, rows: Rows, rms: F32) -> F32:
        """The next frame of white noise at a level of the caller's, (k,) rms in int16 units: (k, 160) float32."""
        noise: F32 = _WHITE[self._next(rows)] * rms[:, None]
        return noise

    def _next(self, rows: Rows) -> I64:
        place = self._place[rows]
        self._place[rows] = place + FRAME
        index: I64 = (place[:, None] + _STEPS) & (_CIRCLE - 1)
        return index


def payload(level_dbov: float) -> bytes:
    """What to send for a background of that level (0 … −127 dBov): one octet, a flat spectrum (RFC 3389 §3)."""
    return bytes([int(np.clip(np.rint(-level_dbov), 0, QUIETEST))])


def _shaped_circle(reflection: F64) -> F32:
    """(order,) reflection coefficients → (8192,) noise with the spectrum of that all-pole model, rms 1.

    Filtering is done on the circle's spectrum, so the end meets the beginning.
    """
    predictor = np.ones(1)
    for k in reflection:  # step-up recursion
        extended = np.append(predictor, 0.0)
        predictor = extended + k * extended[::-1]
    noise = np.fft.irfft(_SPECTRUM / np.fft.rfft(predictor, _CIRCLE), _CIRCLE)
    circle: F32 = (noise / np.sqrt((noise * noise).mean())).astype(np.float32)
    return circle
