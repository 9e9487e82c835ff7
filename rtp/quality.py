"""How a leg sounds: the E-model (ITU-T G.107) for narrow band, from loss, burstiness and delay.

Everything but loss and delay has the recommendation's default values, under which R is 93.2. Echo is taken to be
cancelled by the peer, as IP telephones do. Owns the arithmetic and, per leg, the count of lost frames and of
their runs. What counts as lost is what had to be made up, be it that a packet never came or came too late.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

R_DEFAULT: Final = 93.2  #: G.107 §7.7: R with all parameters at their defaults
BPL_CONCEALED: Final = 25.1  #: G.113 appendix I: robustness of G.711 to loss, with concealment
BPL_PLAIN: Final = 4.3  #: and without
NO_DELAY_MS: Final = 100.0  #: G.107 §7.4: mT, the delay from which on one is felt


def delay_impairment(delay_ms: npt.ArrayLike) -> Floats:
    """Idd of G.107 §7.4 with its default sensitivity. delay_ms: mouth to ear."""
    x = np.log2(np.maximum(delay_ms, NO_DELAY_MS) / NO_DELAY_MS)
    idd: Floats = 25.0 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return idd


def loss_impairment(loss: npt.ArrayLike, burst_ratio: npt.ArrayLike = 1.0, bpl: float = BPL_CONCEALED) -> Floats:
    """Ie,eff of G.107 §7.5 for G.711 (Ie = 0). loss: 0…1; burst_ratio: 1 is random loss."""
    percent = np.asarray(loss, np.float64) * 100.0
    ieeff: Floats = 95.0 * percent / (percent / np.asarray(burst_ratio, np.float64) + bpl)
    return ieeff


def burst_ratio(frames: npt.ArrayLike, lost: npt.ArrayLike, runs: npt.ArrayLike) -> Floats:
    """BurstR of G.107 §7.5: mean length of the runs of lost frames, over what random loss would give.

    At least 1: less would be loss that avoids itself, for which the model was never tested.
    """
    frames_, lost_, runs_ = (np.asarray(x, np.float64) for x in (frames, lost, runs))
    mean_run = lost_ / np.maximum(runs_, 1.0)
    kept = 1.0 - lost_ / np.maximum(frames_, 1.0)
    ratio: Floats = np.maximum(mean_run * kept, 1.0)
    return ratio


def r_factor(loss: npt.ArrayLike, burst: npt.ArrayLike, delay_ms: npt.ArrayLike, bpl: float = BPL_CONCEALED) -> Floats:
    """R of G.107 §7.1, 0…93.2. Shapes broadcast."""
    r: Floats = np.maximum(R_DEFAULT - delay_impairment(delay_ms) - loss_impairment(loss, burst, bpl), 0.0)
    return r


def mos(r: npt.ArrayLike) -> Floats:
    """MOS-CQE of G.107 annex B, 1…4.5."""
    r_ = np.clip(np.asarray(r, np.float64), 0.0, 100.0)
    score: Floats = np.maximum(1.0 + 0.035 * r_ + r_ * (r_ - 60.0) * (100.0 - r_) * 7e-6, 1.0)
    return score


class Rating(NamedTuple):
    """Columns (n,). Where an interval had no frame, r and mos are 0: not known."""

    r: Floats
    mos: Floats
    loss: Floats  # 0…1, of the frames of the interval
    burst_ratio: Floats


class Quality:
    """Columns over `capacity` leg rows: frames of the present interval, those lost, and the runs of these."""

    def __init__(self, capacity: int) -> None:
        self._frames = np.zeros(capacity, dtype=np.int64)
        self._lost = np.zeros(capacity, dtype=np.int64)
        self._runs = np.zeros(capacity, dtype=np.int64)
        self._was_lost = np.zeros(capacity, dtype=np.bool_)

    def reset(self, rows: Rows | int) -> None:
        """Forget everything about these rows."""
        for column in vars(self).values():
            column[rows] = 0

    def count(self, rows: Rows, lost: Bools) -> None:
        """One frame of each row was played out; lost: it was made up. rows: unique."""
        self._frames[rows] += 1
        if np.count_nonzero(lost):
            self._lost[rows] += lost
            self._runs[rows] += lost & ~self._was_lost[rows]
        self._was_lost[rows] = lost

    def rate(self, rows: Rows, delay_ms: npt.ArrayLike, bpl: float = BPL_CONCEALED) -> Rating:
        """Rate the interval that ends now, and begin the next. delay_ms: mouth to ear, (n,) or one for all."""
        frames, lost, runs = self._frames[rows], self._lost[rows], self._runs[rows]
        # A run that goes on into this interval began in the last one; it still is one here.
        runs = np.maximum(runs, lost > 0)
        for column in (self._frames, self._lost, self._runs):
            column[rows] = 0
        loss = lost / np.maximum(frames, 1)
        burst = burst_ratio(frames, lost, runs)
        known = frames > 0
        r = np.where(known, r_factor(loss, burst, delay_ms, bpl), 0.0)
        return Rating(r, np.where(known, mos(r), 0.0), loss, burst)
