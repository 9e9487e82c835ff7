"""gateway/sessions/recordings.py"""

from __future__ import annotations

import wave
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Fault, PeerFault
from gateway.sessions import keys, recordings, store
from gateway.sessions.database import Database
from gateway.sessions.recordings import RENDERINGS, Recording, encode_mp3, wav_octets, wav_size
from gateway.sessions.wav import GrowingWav
from gateway.speech import mulaw
from tests.gateway.sessions.test_store import session

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> GrowingWav:
    """Four tones of 300, 500, 700 and 900 Hz, 3 s."""
    time = np.arange(24_000) / 8000
    tones = [mulaw.encode(np.sin(2 * np.pi * hz * time) * 7000) for hz in (300, 500, 700, 900)]
    file = GrowingWav(tmp_path_factory.mktemp("rec") / "tracks.wav", 4)
    file.create()
    file.append(np.stack(tones, axis=1).tobytes(), [])
    return file


def tones_of(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> set[int]:
    spectrum = np.abs(np.fft.rfft(samples[:24_000]))
    return {hz for hz in (300, 500, 700, 900) if spectrum[hz * 3] > 1e6}


@pytest.mark.parametrize(
    ("channel", "heard"),
    [
        ("customer", [{300}]),
        ("agent", [{500}]),
        ("dual", [{300, 900}, {500, 700}]),
        ("mixed", [{300, 500, 700, 900}]),
        ("tracks", [{300}, {500}, {700}, {900}]),
    ],
)
def test_what_each_rendering_is_made_of(source: GrowingWav, channel: str, heard: list[set[int]]) -> None:
    octets = b"".join(wav_octets(source, channel, 24_000, 0, wav_size(channel, 24_000)))
    assert len(octets) == wav_size(channel, 24_000)
    with wave.open(BytesIO(octets)) as read:
        assert (read.getnchannels(), read.getnframes(), read.getsampwidth()) == (len(heard), 24_000, 2)
        samples = np.frombuffer(read.readframes(24_000), "<i2").reshape(-1, len(heard))
    assert [tones_of(samples[:, n]) for n in range(len(heard))] == heard


@given(channel=st.sampled_from(sorted(RENDERINGS)), ends=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
def test_any_range_is_the_slice_of_the_whole(source: GrowingWav, channel: str, ends: tuple[int, int]) -> None:
    size = wav_size(channel, 24_000)
    start, stop = sorted(end % (size + 1) for end in ends)
    whole = b"".join(wav_octets(source, channel, 24_000, 0, size))
    assert b"".join(wav_octets(source, channel, 24_000, start, stop)) == whole[start:stop]


@pytest.mark.parametrize(("channel", "channels"), [("mixed", 1), ("dual", 2)])
def test_mp3(source: GrowingWav, tmp_path: Path, channel: str, channels: int) -> None:
    target = tmp_path / "a.mp3"
    encode_mp3(source, channel, target)
    with av.open(str(target)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name.startswith("mp3")
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        assert stream.channels == channels
    samples = np.concatenate(frames, axis=1)[0]
    assert abs(len(samples) - 24_000) < 3 * 1152
    spectrum = np.abs(np.fft.rfft(samples[:24_000]))
    assert set(np.argsort(spectrum)[-1:] // 3) <= {299, 300, 301, 500, 499, 501, 700, 701, 699, 899, 900, 901}
    assert list(tmp_path.iterdir()) == [target]


def add(database: Database, number: int, session_number: int = 1, created_at: float = NOW) -> Recording:
    made = Recording(f"rec_{number}", f"sess_{session_number}", "org_default", "dual", "processing", 0.0, created_at)
    database.call(recordings.add, made)
    return made


def test_rows(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    for number in (1, 2):
        database.call(store.add_session, session(number))
    made = add(database, 1)
    add(database, 2, 2)
    assert database.call(recordings.find, "rec_1", "org_default") == made
    assert recordings.view(made)["size"] == 0
    (done,) = database.call(recordings.finish, "sess_1", "ready", 1.5)
    assert (done.status, done.duration) == ("ready", 1.5)
    assert recordings.view(done)["size"] == 44 + 12_000 * 4
    assert database.call(recordings.of_session, "sess_2")[0].status == "processing"
    for recording_id, organization in (("rec_9", None), ("rec_1", "org_b")):
        with pytest.raises(PeerFault) as caught:
            database.call(recordings.find, recording_id, organization)
        assert caught.value.fault is Fault.RECORDING_NOT_FOUND


def test_retention(database: Database, tmp_path: Path) -> None:
    database.call(keys.ensure_organization, NOW)
    for number in (1, 2, 3):
        database.call(store.add_session, session(number))
        recordings.folder(tmp_path, f"sess_{number}").mkdir(parents=True)
    add(database, 1, 1, NOW - 100)
    add(database, 2, 2, NOW)
    add(database, 3, 3, NOW - 100)
    database.call(recordings.finish, "sess_1", "ready", 1.0)
    database.call(recordings.finish, "sess_2", "ready", 1.0)
    expired = database.call(recordings.expire, NOW - 50)
    assert expired == ["sess_1"]  # the second is young, the third is not finished
    recordings.remove_files(tmp_path, [*expired, "sess_unknown"])
    assert sorted(path.name for path in (tmp_path / "recordings").iterdir()) == ["sess_2", "sess_3"]
