"""Who speaks: an energy detector with a noise floor of its own per row.

The floor falls at once and rises by 2 dB a second, so it follows a room and not a sentence. Speech starts after
`ATTACK` loud frames in a row and stops after `HANGOVER` quiet ones.
Owns the floor and the state. Refuses to know what speech is for, and what time it is: it counts frames of 20 ms.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.intp]

ATTACK: Final = 3  # loud frames (60 ms) that start speech: one is a click
HANGOVER: Final = 20  # quiet frames (400 ms) that stop it: fewer are a pause between words
RATIO: Final = np.float32(8.0)  # energy over the floor (9 dB) that is loud
RISE: Final = np.float32(1.01)  # of the floor per frame: 2.2 dB/s
#: Energy (full scale 1) below which nothing counts: -64 dBov; so nothing under -55 dBov is ever loud.
LOWEST: Final = np.float32(4e-7)

# States: 0 … ATTACK − 1 are silence after so many loud frames; above is speech, with so many quiet frames to go.
_SPEECH: Final = ATTACK
_LAST: Final = ATTACK + HANGOVER - 1


def _transitions() -> npt.NDArray[np.uint8]:
    """(2, states): the next state by (loud, state)."""
    table = np.zeros((2, _LAST + 1), dtype=np.uint8)
    for state in range(_LAST + 1):
        speaking = state >= _SPEECH
        table[0, state] = state - 1 if state > _SPEECH else 0
        table[1, state] = _LAST if speaking or state + 1 == ATTACK else state + 1
    return table


_NEXT: Final = _transitions()


class Heard(NamedTuple):
    """One entry per row. energy: mean square, full scale 1; speaking: talk, pauses between words included;
    changed: speech started or stopped with this frame; loud: this frame itself.
    """

    energy: F32
    speaking: Bool
    changed: Bool
    loud: Bool


class Vad:
    """Columns over `capacity` rows.

    floor: (capacity,) float32, mean square of the row's background noise, full scale 1, at least `LOWEST`.
    """

    def __init__(self, capacity: int) -> None:
        self.floor: F32 = np.full(capacity, LOWEST, dtype=np.float32)
        self._state: npt.NDArray[np.uint8] = np.zeros(capacity, dtype=np.uint8)

    def reset(self, rows: Rows) -> None:
        """A new leg, in an unknown room."""
        self.floor[rows] = LOWEST
        self._state[rows] = 0

    def hear(self, rows: Rows, frames: npt.NDArray[np.uint8], energies: F32) -> Heard:
        """One frame of each row: (k, 160) codes and the law's (256,) energy table (`g711.MU_ENERGY`)."""
        energy: F32 = energies.take(frames).sum(axis=1)
        energy *= np.float32(1 / 160)
        floor = self.floor[rows]
        loud = energy > floor * RATIO
        self.floor[rows] = np.maximum(np.minimum(floor * RISE, energy), LOWEST)
        state = self._state[rows]
        after = _NEXT[loud.view(np.uint8), state]
        self._state[rows] = after
        speaking = after >= _SPEECH
        return Heard(energy, speaking, speaking != (state >= _SPEECH), loud)

    def speaking(self, rows: Rows) -> Bool:
        """(k,) bool: whether the rows' last frames were talk, pauses between words included."""
        state: Bool = self._state[rows] >= _SPEECH
        return state

    def background(self, rows: Rows) -> F32:
        """(k,) rms of the rows' background noise in int16 units; 0 where it is too low to be heard."""
        floor = self.floor[rows]
        rms: F32 = np.where(floor > LOWEST, np.sqrt(floor) * np.float32(32768), np.float32(0))
        return rms


def level_dbov(energy: F32) -> F32:
    """dBov (0 = full scale square wave) of mean squares; −127 for digital silence."""
    level: F32 = np.maximum(10 * np.log10(np.maximum(energy, 1e-13)), -127.0).astype(np.float32)
    return level
