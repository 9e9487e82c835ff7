"""Both laws of ITU-T G.711 as tables, built from the decision values of the recommendation.

Tables 1a and 2a of G.711 define a law by decision values x(n) and output values y(n) on a magnitude of 12
(A-law) or 13 bits (mu-law). Negative magnitudes are the one's complement, as in the ITU's own software
tools (G.191), so that 0 and −1 fall on the two zeros. Linear is int16, left-justified.
Owns the tables. Indexed encode tables take the uint16 *view* of int16 samples: `LINEAR_TO_MU[x.view(u2)]`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]


def _mu_decisions() -> npt.NDArray[np.int64]:
    """G.711 Table 2a: x(1)…x(129) in units of 1/8159 of full scale; 16 steps in each of 8 segments."""
    segment, step = np.divmod(np.arange(129), 16)
    decisions: npt.NDArray[np.int64] = ((16 + step) << (segment + 1)) - 33
    decisions[0] = 0  # the first interval is half as wide
    return decisions


def _a_decisions() -> npt.NDArray[np.int64]:
    """G.711 Table 1a: decision values in units of 1/4096; the first two segments share one step size."""
    segment, step = np.divmod(np.arange(129), 16)
    return np.where(segment == 0, 2 * step, (16 + step) << segment)


def _tables(decisions: npt.NDArray[np.int64], mask: int, bits: int, first: int | None) -> tuple[I16, U8]:
    """Decode (256,) and encode (65536,) of one law.

    mask: which transmitted bits are inverted; bits: shift to int16; first: the output value of the lowest
    interval where that is not its midpoint.
    """
    outputs = (decisions[:-1] + decisions[1:]) // 2
    if first is not None:
        outputs[0] = first
    codes = np.arange(256) ^ mask  # the character signal before inversion: sign bit 1 is positive
    magnitude = outputs[codes & 0x7F] << bits
    to_linear = np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)

    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int64)
    magnitudes = np.where(samples < 0, ~samples, samples) >> bits
    interval = np.minimum(np.searchsorted(decisions, magnitudes, side="right") - 1, 127)
    from_linear = ((interval | np.where(samples < 0, 0, 0x80)) ^ mask).astype(np.uint8)
    return to_linear, from_linear


# *_TO_LINEAR: (256,) int16; LINEAR_TO_*: (65536,) uint8, indexed by the uint16 view of int16.
MU_TO_LINEAR, LINEAR_TO_MU = _tables(_mu_decisions(), mask=0x7F, bits=2, first=0)
A_TO_LINEAR, LINEAR_TO_A = _tables(_a_decisions(), mask=0x55, bits=3, first=None)

#: (256,) uint8. By way of linear, as every PBX does it, and not by Tables 3 and 4 of G.711.
ALAW_TO_MULAW: Final[U8] = LINEAR_TO_MU[A_TO_LINEAR.view(np.uint16)]
MULAW_TO_ALAW: Final[U8] = LINEAR_TO_A[MU_TO_LINEAR.view(np.uint16)]

#: (256,) float32: squared amplitude of a code, full scale 1.0; 10·log10 of a mean of these is dBov.
MU_ENERGY: Final[npt.NDArray[np.float32]] = ((MU_TO_LINEAR / 32768.0) ** 2).astype(np.float32)
A_ENERGY: Final[npt.NDArray[np.float32]] = ((A_TO_LINEAR / 32768.0) ** 2).astype(np.float32)

MU_SILENCE: Final = 0xFF
A_SILENCE: Final = 0xD5

for _table in (MU_TO_LINEAR, LINEAR_TO_MU, A_TO_LINEAR, LINEAR_TO_A, ALAW_TO_MULAW, MULAW_TO_ALAW):
    _table.setflags(write=False)
for _energies in (MU_ENERGY, A_ENERGY):
    _energies.setflags(write=False)
