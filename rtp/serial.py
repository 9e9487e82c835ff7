"""Serial number arithmetic (RFC 1982) for 16-bit sequence numbers and 32-bit timestamps.

`delta*` is the signed way from one serial number to another, `unwrap*` continues an endless int64
count through the wraps. Two numbers exactly half the circle apart are undefined in RFC 1982 §3.2; here the
new one counts as the older. The plain forms take ints, the `_array` forms arrays of uint16 / uint32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]


def delta16(new: int, old: int) -> int:
    """Steps from `old` to `new`, −32768…32767."""
    return ((new - old + 0x8000) & 0xFFFF) - 0x8000


def delta32(new: int, old: int) -> int:
    """Steps from `old` to `new`, −2³¹…2³¹−1."""
    return ((new - old + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


def unwrap16(value: int, reference: int) -> int:
    """The endless count nearest to `reference` whose low 16 bits are `value`. May be negative."""
    return reference + delta16(value, reference)


def unwrap32(value: int, reference: int) -> int:
    """The endless count nearest to `reference` whose low 32 bits are `value`. May be negative."""
    return reference + delta32(value, reference)


def delta16_array(new: U16, old: U16) -> I16:
    """Elementwise `delta16`."""
    return np.subtract(new, old, dtype=np.uint16).view(np.int16)


def delta32_array(new: U32, old: U32) -> I32:
    """Elementwise `delta32`."""
    return np.subtract(new, old, dtype=np.uint32).view(np.int32)


def unwrap16_array(values: U16, references: I64) -> I64:
    """Elementwise `unwrap16`. values: uint16; references: int64 endless counts."""
    steps: I64 = references + delta16_array(values, references.astype(np.uint16))
    return steps


def unwrap32_array(values: U32, references: I64) -> I64:
    """Elementwise `unwrap32`. values: uint32; references: int64 endless counts."""
    steps: I64 = references + delta32_array(values, references.astype(np.uint32))
    return steps
