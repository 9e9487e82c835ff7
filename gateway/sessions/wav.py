"""WAV headers, and a WAV file that grows: readable after a crash up to its last append.

Owns the RIFF layout. Two kinds: mu-law with any number of channels (the master of a recording), and linear
16 bit (what is handed out). 8000 Hz always.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

RATE: Final = 8000
_MULAW: Final = 7
_PCM: Final = 1
_FACT_AT: Final = 46
_DATA_SIZE_AT: Final = 54
#: Octets of the two headers.
MULAW_HEADER: Final = 58
PCM_HEADER: Final = 44
#: RIFF sizes are 32 bits; a longer recording keeps this one and readers go by the file's length.
_LARGEST: Final = 2**32 - 1


def mulaw_header(channels: int, frames: int) -> bytes:
    """frames: samples per channel."""
    size = min(frames * channels, _LARGEST - MULAW_HEADER)
    return struct.pack(
        "<4sI4s4sIHHIIHHH4sII4sI",
        b"RIFF", size + MULAW_HEADER - 8, b"WAVE",
        b"fmt ", 18, _MULAW, channels, RATE, RATE * channels, channels, 8, 0,
        b"fact", 4, min(frames, _LARGEST),
        b"data", size,
    )  # fmt: skip


def pcm_header(channels: int, frames: int) -> bytes:
    size = min(frames * channels * 2, _LARGEST - PCM_HEADER)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", size + PCM_HEADER - 8, b"WAVE",
        b"fmt ", 16, _PCM, channels, RATE, RATE * channels * 2, channels * 2, 16,
        b"data", size,
    )  # fmt: skip


class GrowingWav:
    """A mu-law master on disk. Opened for each append: hundreds may grow at once."""

    def __init__(self, path: Path, channels: int) -> None:
        self.path = path
        self.channels = channels

    def create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.path.write_bytes(mulaw_header(self.channels, 0))
            self.path.chmod(0o640)

    def frames(self) -> int:
        """Whole frames in the file, whatever its header says."""
        return max(0, self.path.stat().st_size - MULAW_HEADER) // self.channels

    def append(self, octets: bytes, patches: list[tuple[int, int, bytes]]) -> None:
        """Append interleaved octets; then overwrite (channel, first frame, octets) that came late."""
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            frames = self.frames()
            at = MULAW_HEADER + frames * self.channels
            os.pwrite(descriptor, octets, at)
            frames += len(octets) // self.channels
            for channel, first, late in patches:
                self._patch(descriptor, channel, first, late[: max(0, frames - first)])
            os.pwrite(descriptor, mulaw_header(self.channels, frames), 0)
        finally:
            os.close(descriptor)

    def mend(self) -> int:
        """After a crash: cut a half frame, write the header anew; returns the frames."""
        frames = self.frames()
        with self.path.open("r+b") as file:
            file.truncate(MULAW_HEADER + frames * self.channels)
            file.write(mulaw_header(self.channels, frames))
        return frames

    def read(self, first: int, count: int) -> bytes:
        """Interleaved octets of frames first … first + count."""
        with self.path.open("rb") as file:
            file.seek(MULAW_HEADER + first * self.channels)
            return file.read(count * self.channels)

    def _patch(self, descriptor: int, channel: int, first: int, octets: bytes) -> None:
        at = MULAW_HEADER + first * self.channels
        block = bytearray(os.pread(descriptor, len(octets) * self.channels, at))
        block[channel :: self.channels] = octets[: len(block) // self.channels]
        os.pwrite(descriptor, block, at)
