"""gateway/sessions/wav.py"""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.wav import MULAW_HEADER, PCM_HEADER, GrowingWav, mulaw_header, pcm_header


def decoded(path: Path) -> tuple[int, int, int]:
    """Codec, channels and frames as a decoder of others sees them."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = sum(frame.samples for frame in container.decode(stream))
        return stream.rate, stream.channels, frames


def test_headers_have_their_length() -> None:
    assert len(mulaw_header(4, 10)) == MULAW_HEADER
    assert len(pcm_header(2, 10)) == PCM_HEADER
    assert len(mulaw_header(4, 2**40)) == MULAW_HEADER  # a size that the format can not say


def test_pcm_is_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(pcm_header(2, 100) + bytes(400))
    with wave.open(str(path)) as read:
        assert (read.getnchannels(), read.getframerate(), read.getnframes()) == (2, 8000, 100)


@given(pieces=st.lists(st.integers(1, 500), max_size=8))
def test_a_growing_file_opens_after_every_append(tmp_path_factory: pytest.TempPathFactory, pieces: list[int]) -> None:
    file = GrowingWav(tmp_path_factory.mktemp("wav") / "a.wav", 4)
    file.create()
    total = 0
    for frames in pieces:
        file.append(bytes(frames * 4), [])
        total += frames
        assert file.frames() == total
        assert decoded(file.path) == (8000, 4, total)


def test_what_comes_late_is_laid_where_it_belongs(tmp_path: Path) -> None:
    file = GrowingWav(tmp_path / "a.wav", 4)
    file.create()
    file.append(b"\xff" * 40, [])
    file.append(b"\xff" * 40, [(2, 8, b"abcd"), (0, 18, b"toolong"), (1, 90, b"beyond")])
    frames = np.frombuffer(file.read(0, 100), np.uint8).reshape(-1, 4)
    assert frames[8:12, 2].tobytes() == b"abcd"
    assert frames[18:20, 0].tobytes() == b"to"
    assert (frames != 0xFF).sum() == 6
    assert file.frames() == 20


def test_mending_after_a_crash(tmp_path: Path) -> None:
    file = GrowingWav(tmp_path / "deep" / "a.wav", 4)
    file.create()
    file.append(bytes(400), [])
    with file.path.open("ab") as torn:
        torn.write(b"x" * 402)  # an append whose header was never written
    assert decoded(file.path)[2] >= 100
    assert file.mend() == 200
    assert decoded(file.path) == (8000, 4, 200)
    file.create()
    assert file.frames() == 200
    assert file.path.stat().st_mode & 0o007 == 0
