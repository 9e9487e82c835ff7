"""Mu-law to samples and back, for what works with samples beside the media path.

Owns the shapes; the tables are `rtp/g711.py`'s, so there is one definition of the law in this project.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtp.g711 import LINEAR_TO_MU, MU_ENERGY, MU_SILENCE, MU_TO_LINEAR

#: One octet of silence: +0.
SILENCE: Final = bytes([MU_SILENCE])
#: Squared amplitude of each octet, full scale 1.0. (256,) float32
ENERGY: Final[npt.NDArray[np.float32]] = MU_ENERGY


def decode(octets: bytes | bytearray | memoryview) -> npt.NDArray[np.int16]:
    """(n,) octets → (n,) int16."""
    samples: npt.NDArray[np.int16] = MU_TO_LINEAR[np.frombuffer(octets, np.uint8)]
    return samples


def encode(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(n,) integers, clipped to int16 → (n,) uint8."""
    clipped = np.clip(samples, -32768, 32767).astype(np.int16)
    octets: npt.NDArray[np.uint8] = LINEAR_TO_MU[clipped.view(np.uint16)]
    return octets
