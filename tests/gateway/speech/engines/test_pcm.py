from __future__ import annotations

import io
import struct
import wave
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.engines.pcm import HEADER_LIMIT, Samples, Wav, wav

TONE = (np.sin(np.arange(500) / 3) * 9000).astype(np.int16)


def written(samples: np.ndarray, channels: int = 1, rate: int = 24_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def test_what_is_written_is_a_wav() -> None:
    with wave.open(io.BytesIO(wav(TONE, 8000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.readframes(1000) == TONE.tobytes()


@given(st.lists(st.integers(0, 1100), max_size=8))
def test_a_wav_is_read_wherever_it_is_cut(cuts: list[int]) -> None:
    octets = written(TONE)
    reader, edges = Wav(), [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    read = [reader.feed(octets[start:end]) for start, end in pairwise(edges)]
    assert np.array_equal(np.concatenate(read), TONE)
    assert reader.rate_hz == 24_000


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_the_sizes_of_a_stream_are_not_believed(size: int) -> None:
    octets = bytearray(written(TONE))
    struct.pack_into("<I", octets, 4, size)
    struct.pack_into("<I", octets, 40, size)
    assert np.array_equal(Wav().feed(bytes(octets)), TONE)


def test_chunks_between_are_passed_over_and_channels_mixed() -> None:
    octets = written(np.repeat(TONE, 2), channels=2, rate=22_050)
    listed = octets[:12] + b"LIST\x03\x00\x00\x00abc\x00" + octets[12:]
    reader = Wav()
    assert np.array_equal(reader.feed(listed), TONE)
    assert reader.rate_hz == 22_050


@pytest.mark.parametrize(
    "octets",
    [
        b"ID3\x04" + bytes(20),
        written(TONE)[:12] + written(TONE)[36:],
        written(TONE)[:20] + b"\x07\x00" + written(TONE)[22:],
        written(TONE)[:24] + struct.pack("<I", 3) + written(TONE)[28:],
        written(TONE)[:16] + struct.pack("<I", 4) + written(TONE)[20:],
    ],
    ids=["mp3", "no format", "mu-law", "3 Hz", "short format"],
)
def test_what_is_no_such_wav_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="WAV"):
        Wav().feed(octets)


def test_a_header_without_an_end_is_refused() -> None:
    reader = Wav()
    with pytest.raises(ValueError, match="no end"):
        reader.feed(b"RIFF\0\0\0\0WAVEjunk" + struct.pack("<I", 2**31) + bytes(HEADER_LIMIT))


@given(st.binary(max_size=200))
def test_whatever_comes_is_samples_or_a_value_error(octets: bytes) -> None:
    for head in (b"", b"RIFF\0\0\0\0WAVE"):
        try:
            samples = Wav().feed(head + octets)
        except ValueError:
            continue
        assert samples.dtype == np.int16


def test_bare_samples_may_be_cut_in_half() -> None:
    reader, octets = Samples(24_000), TONE.tobytes()
    assert np.array_equal(np.concatenate([reader.feed(octets[:7]), reader.feed(octets[7:])]), TONE)
