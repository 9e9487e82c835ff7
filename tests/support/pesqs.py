"""PESQ narrow-band scores of concealed speech, and the two baselines that any concealment has to beat.

Owns the conditions of the table and the scoring. Refuses to know the engine: a concealer is a function from
frames and a loss mask to samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pesq import pesq

from tests.support import impairments
from tests.support.speech import RATE, speech, with_noise

FRAME = 160
Frames = npt.NDArray[np.int16]
#: (rows, n, 160) int16 and (rows, n) bool lost → (rows, n, 160) int16
Method = Callable[[Frames, npt.NDArray[np.bool_]], Frames]
LossModel = Callable[[int, np.random.Generator], npt.NDArray[np.bool_]]

#: The conditions of the table, by their printed name.
CONDITIONS: dict[str, LossModel] = {
    "no loss": lambda n, rng: np.zeros(n, dtype=bool),
    "random 1 %": lambda n, rng: impairments.uniform(n, 0.01, rng),
    "random 3 %": lambda n, rng: impairments.uniform(n, 0.03, rng),
    "random 5 %": lambda n, rng: impairments.uniform(n, 0.05, rng),
    "random 10 %": lambda n, rng: impairments.uniform(n, 0.10, rng),
    "bursts of 3, 5 %": lambda n, rng: impairments.gilbert_elliott(n, 0.05, 3, rng),
    "bursts of 5, 10 %": lambda n, rng: impairments.gilbert_elliott(n, 0.10, 5, rng),
}


def score(reference: npt.NDArray[np.int16], degraded: npt.NDArray[np.int16]) -> float:
    """PESQ narrow band (P.862.1 MOS-LQO) of `degraded` against `reference`, both (n,) int16 at 8 kHz."""
    return float(pesq(RATE, reference, degraded, "nb"))


def framed(voices: tuple[str, ...], copies: int) -> tuple[Frames, list[int]]:
    """`copies` rows per voice, padded with silence to one length: (rows, n, 160); and each row's frame count.

    A quiet room (-65 dBov) is behind the speech: pauses of pure zeros, which no telephone has, would cost plain
    G.711 half a point.
    """
    texts = [with_noise(speech(voice), -65, 1).reshape(-1, FRAME) for voice in voices for _ in range(copies)]
    frames = np.zeros((len(texts), max(map(len, texts)), FRAME), dtype=np.int16)
    for row, text in zip(frames, texts, strict=True):
        row[: len(text)] = text
    return frames, [len(text) for text in texts]


def losses(condition: str, lengths: list[int], frames: int, first_seed: int = 0) -> npt.NDArray[np.bool_]:
    """(rows, frames) bool, one seed a row. The first 100 ms are spared: every concealer needs something to go by."""
    model = CONDITIONS[condition]
    lost = np.zeros((len(lengths), frames), dtype=bool)
    for row, length in enumerate(lengths):
        lost[row, :length] = model(length, np.random.default_rng([first_seed, row]))
    lost[:, :5] = False
    return lost


def scores(reference: Frames, degraded: Frames, lengths: list[int]) -> npt.NDArray[np.float64]:
    """(rows,) PESQ of each row."""
    rows = zip(reference, degraded, lengths, strict=True)
    return np.array([score(ours[:n].ravel(), theirs[:n].ravel()) for ours, theirs, n in rows])


def silence(frames: Frames, lost: npt.NDArray[np.bool_]) -> Frames:
    """The baseline that does nothing."""
    return np.where(lost[:, :, None], np.int16(0), frames)


def repeat_with_fade(frames: Frames, lost: npt.NDArray[np.bool_]) -> Frames:
    """The baseline of most PBXs: the last good frame again, fading straight to nothing over 60 ms of loss."""
    played = frames.copy()
    run = np.zeros(len(frames), dtype=np.int64)
    last = np.zeros_like(frames[:, 0])
    step = np.arange(FRAME) / (3 * FRAME)
    for f in range(frames.shape[1]):
        gone = lost[:, f]
        gain = np.clip(1 - run[:, None] / 3 - step, 0, 1)
        played[:, f] = np.where(gone[:, None], last * gain, frames[:, f]).astype(np.int16)
        last = np.where(gone[:, None], last, frames[:, f])
        run = np.where(gone, run + 1, 0)
    return played
