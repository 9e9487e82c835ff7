"""Plays frames with holes through `rtp.conceal`, many rows at once, as the engine would with a delay of 40 ms.

Owns the bookkeeping of history and look-ahead for tests of the sound alone; the whole engine is driven by
`tests/behaviour`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rtp.comfort import ComfortNoise
from rtp.conceal import HISTORY, Concealer
from rtp.g711 import LINEAR_TO_MU, MU_ENERGY, MU_TO_LINEAR
from rtp.vad import Vad
from tests.support.pesqs import FRAME, Frames


def companded(samples: Frames) -> Frames:
    """What mu-law leaves of linear samples, any shape."""
    return MU_TO_LINEAR[coded(samples)]


def coded(samples: Frames) -> npt.NDArray[np.uint8]:
    """Linear samples as mu-law, any shape."""
    return LINEAR_TO_MU[np.ascontiguousarray(samples).view(np.uint16)]


def concealed(frames: Frames, lost: npt.NDArray[np.bool_], look_ahead: bool = True) -> Frames:
    """(rows, n, 160) and (rows, n) → the same with its holes filled. look_ahead: the next frame is at hand."""
    rows_all, n, _ = frames.shape
    concealer = Concealer(rows_all)
    played = np.zeros((rows_all, HISTORY + n * FRAME), dtype=np.int16)
    vad, comfort = Vad(rows_all), ComfortNoise(rows_all)
    everyone = np.arange(rows_all)
    after = np.concatenate([frames[:, 1:], frames[:, :1] * 0], axis=1)
    after_lost = np.concatenate([lost[:, 1:], lost[:, :1] | True], axis=1)
    for f in range(n):
        at = HISTORY + f * FRAME
        played[:, at : at + FRAME] = frames[:, f]
        rows = np.flatnonzero(lost[:, f] | concealer.active)
        if not rows.size:
            vad.hear(everyone, coded(played[:, at : at + FRAME]), MU_ENERGY)
            continue
        filled = concealer.process(
            rows,
            frames[rows, f],
            np.repeat(lost[rows, f, None], 2, axis=1),
            played[rows, at - HISTORY : at],
            after[rows, f],
            np.repeat(~after_lost[rows, f, None] & look_ahead, 2, axis=1),
            comfort.background(rows, vad.background(rows)),
        )
        played[rows, at : at + FRAME] = companded(filled)
        vad.hear(everyone, coded(played[:, at : at + FRAME]), MU_ENERGY)
    return played[:, HISTORY:].reshape(rows_all, n, FRAME)
