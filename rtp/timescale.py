"""Time compression and expansion: a frame that takes a little more, or a little less, of the stream than it plays.

WSOLA with one overlap a frame: speech repeats itself at the pitch, so a whole number of periods can be left out, or
said twice, where the two sides of the seam look alike; a raised-cosine cross-fade makes the seam. The longest lag
that fits about as well as the best is taken: fewer seams for the same correction.

Owns the seam. Refuses to know why, and how often, a row's time is changed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

FRAME: Final = 160
LAG_MIN: Final = 20  # 2.5 ms, the shortest pitch period
LAG_MAX: Final = 160  # 20 ms
AHEAD: Final = FRAME + LAG_MAX  # samples from the cursor on that `compress` wants
SEAM: Final = 80  # samples of cross-fade, and of what has to look alike

_LAGS: Final = np.arange(LAG_MIN, LAG_MAX + 1)
_WINDOWS: Final = _LAGS[:, None] + np.arange(SEAM)  # (lags, 80)
_FADE: Final = 0.5 - 0.5 * np.cos(np.pi * (np.arange(SEAM) + 0.5) / SEAM)
_EACH: Final = np.arange(FRAME)
_FLOOR: Final = 100.0  # energy per sample that keeps silence from being divided by
_ENOUGH: Final = 0.6  # correlation that a seam in speech needs …
_WELL: Final = 0.85  # … and one that need not be made just now
_ONSET: Final = 4.0  # times the energy of a quiet frame: a word begins
_NEARLY: Final = 0.05  # below the best correlation, and still as good


def compress(ahead: I16, least: I64, most: I64, quiet: Bool) -> tuple[I16, I64]:
    """Play a frame and leave something out: ((k, 160) int16, (k,) samples left out).

    ahead: (k, 320) linear from the cursor on, all of it valid. least, most: (k,) how many samples may go. quiet: (k,)
    nobody speaks, any seam will do and exactly `most` go (up to 160), unless somebody begins to speak in what would go.
    0 left out: nothing in this frame looks enough alike, or `most` is below 20; the frame is as it was. Advance the
    cursor by 160 + what was left out.
    """
    x = ahead.astype(np.float64)
    energy = x * x
    calm = energy[:, FRAME:].sum(axis=1) <= _ONSET * (energy[:, :FRAME].sum(axis=1) + _FLOOR * FRAME)
    lag = _lag(x[:, :SEAM], x.take(_WINDOWS, axis=1), least, most, quiet & calm)
    row = np.arange(len(x))[:, None]
    frame = x[row, _EACH + lag[:, None]]
    frame[:, :SEAM] = x[:, :SEAM] * (1 - _FADE) + frame[:, :SEAM] * _FADE
    return np.where(lag[:, None] > 0, np.rint(frame), ahead[:, :FRAME]).astype(np.int16), lag


def expand(around: I16, least: I64, most: I64, quiet: Bool) -> tuple[I16, I64]:
    """Play a frame that says something twice: ((k, 160) int16, (k,) samples said twice).

    around: (k, 320) linear, the 160 samples played before the cursor and the 160 from it on. The rest as in
    `compress`. Advance the cursor by 160 − what was said twice.
    """
    x = around.astype(np.float64)
    before = x.take(FRAME - _LAGS[:, None] + np.arange(SEAM), axis=1)
    lag = _lag(x[:, FRAME : FRAME + SEAM], before, least, most, quiet)
    row = np.arange(len(x))[:, None]
    frame = x[row, FRAME + _EACH - lag[:, None]]
    frame[:, :SEAM] = x[:, FRAME : FRAME + SEAM] * (1 - _FADE) + frame[:, :SEAM] * _FADE
    return np.where(lag[:, None] > 0, np.rint(frame), around[:, FRAME:]).astype(np.int16), lag


def _lag(here: F64, there: F64, least: I64, most: I64, quiet: Bool) -> I64:
    """(k, 80) and (k, lags, 80) → (k,) the lag to use, 0 for none."""
    products = (there * here[:, None]).sum(axis=2)
    energies = (there * there).sum(axis=2) * (here * here).sum(axis=1)[:, None]
    alike = products / np.sqrt(energies + (_FLOOR * SEAM) ** 2)
    alike[(least[:, None] > _LAGS) | (most[:, None] < _LAGS)] = -1.0
    best = alike.max(axis=1)
    enough = np.where(least > 0, _WELL, _ENOUGH)
    good = alike >= np.maximum(best * (1 - _NEARLY), enough)[:, None]
    good[:, :-1] &= alike[:, :-1] >= alike[:, 1:]  # at a peak, not on its slope …
    good[:, 1:] &= alike[:, 1:] >= alike[:, :-1]
    good |= alike == best[:, None]  # … unless the best of all stands at the end of what is allowed
    longest = len(_LAGS) - 1 - np.argmax(good[:, ::-1], axis=1)
    lag: I64 = np.where((best >= enough) & (most >= LAG_MIN), _LAGS[longest], 0)
    return np.where(quiet, np.clip(most, 0, LAG_MAX), lag)
