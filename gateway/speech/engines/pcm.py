"""Linear audio as engines take and give it over HTTP: WAV, with a header that may say any size, or bare samples.

Owns the RIFF chunks that are read and written here. Sans-IO: a reader is fed pieces of any length.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

#: What a header may have before the samples begin.
HEADER_LIMIT: Final = 64 * 1024
RATES: Final = range(8000, 192_001)
_LINEAR, _EXTENSIBLE = 1, 0xFFFE


def wav(samples: npt.NDArray[np.int16], rate_hz: int) -> bytes:
    """(n,) int16 as a WAV file of one channel."""
    octets = samples.astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(octets), b"WAVE",
        b"fmt ", 16, _LINEAR, 1, rate_hz, rate_hz * 2, 2, 16,
        b"data", len(octets),
    )  # fmt: skip
    return header + octets


class Samples:
    """Bare 16-bit little-endian samples of one channel."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz: int | None = rate_hz
        self._rest = b""

    def feed(self, octets: bytes) -> npt.NDArray[np.int16]:
        """The whole samples that have come. (n,) int16"""
        octets = self._rest + octets
        whole = len(octets) // 2 * 2
        self._rest = octets[whole:]
        return np.frombuffer(octets, "<i2", whole // 2).astype(np.int16)


class Wav:
    """A WAV that is read while it is written: linear 16 bit, any number of channels, mixed to one.

    The sizes of the RIFF and data chunks are not believed: who streams does not know them yet. rate_hz: None until
    the header was read.
    """

    def __init__(self) -> None:
        self.rate_hz: int | None = None
        self._channels = 0
        self._head = b""
        self._in_samples = False
        self._rest = b""

    def feed(self, octets: bytes) -> npt.NDArray[np.int16]:
        """The whole samples that have come. (n,) int16. Raises ValueError for what is no such WAV."""
        if not self._in_samples:
            self._head += octets
            begin = self._header()
            if begin is None:
                if len(self._head) > HEADER_LIMIT:
                    raise ValueError("a WAV header that has no end")
                return np.zeros(0, np.int16)
            octets, self._head = self._head[begin:], b""
            self._in_samples = True
        octets = self._rest + octets
        frame = 2 * self._channels
        whole = len(octets) // frame * frame
        self._rest = octets[whole:]
        samples = np.frombuffer(octets, "<i2", whole // 2)
        if self._channels == 1:
            return samples.astype(np.int16)
        mixed: npt.NDArray[np.int16] = samples.reshape(-1, self._channels).mean(axis=1).astype(np.int16)
        return mixed

    def _header(self) -> int | None:
        """Where the samples begin; None while that is not known."""
        head = self._head
        if len(head) < 12:
            return None
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise ValueError("no WAV")
        at = 12
        while len(head) >= at + 8:
            kind, size = struct.unpack_from("<4sI", head, at)
            at += 8
            if kind == b"data":
                if self.rate_hz is None:
                    raise ValueError("a WAV that does not say its format")
                return at
            if kind == b"fmt ":
                if len(head) < at + 16:
                    return None
                if size < 16:
                    raise ValueError("a WAV with a format that is too short")
                form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
                if form not in (_LINEAR, _EXTENSIBLE) or bits != 16 or not 1 <= channels <= 8 or rate not in RATES:
                    raise ValueError(f"a WAV of format {form}, {bits} bit, {channels} channels, {rate} Hz")
                self.rate_hz, self._channels = rate, channels
            at += size + size % 2
        return None
