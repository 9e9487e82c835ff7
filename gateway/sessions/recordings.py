"""Finished recordings: their rows, and their renderings from the four-channel master, as WAV or MP3.

Owns what each channel of the API is made of. WAV is rendered as it is read, any range of it, so nothing is
stored twice; MP3 is encoded once, on first use, beside the master.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, insert, select, update

from gateway.errors import Fault, PeerFault
from gateway.sessions import recorder as r
from gateway.sessions.models import recordings
from gateway.sessions.views import iso
from gateway.sessions.wav import PCM_HEADER, RATE, GrowingWav, pcm_header
from gateway.speech import mulaw

Samples = npt.NDArray[np.int16]

#: What is summed into each output channel. A side of `dual` is a party's words, said and translated.
RENDERINGS: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "customer": ((r.CUSTOMER,),),
    "agent": ((r.AGENT,),),
    "dual": ((r.CUSTOMER, r.TO_AGENT), (r.AGENT, r.TO_CUSTOMER)),
    "mixed": ((r.CUSTOMER, r.AGENT, r.TO_CUSTOMER, r.TO_AGENT),),
    "tracks": ((r.CUSTOMER,), (r.AGENT,), (r.TO_CUSTOMER,), (r.TO_AGENT,)),
}
_PIECE: Final = 10 * RATE


class Recording(NamedTuple):
    """A stored recording. duration: seconds; created_at: Unix seconds."""

    id: str
    session_id: str
    organization_id: str
    channel: str
    status: str
    duration: float
    created_at: float


_COLUMNS: Final = tuple(recordings.c[name] for name in Recording._fields)


def add(connection: Connection, recording: Recording) -> None:
    connection.execute(insert(recordings).values(**recording._asdict()))


def finish(connection: Connection, session_id: str, status: str, duration: float) -> list[Recording]:
    """Mark a session's recordings ready or failed; returns them."""
    connection.execute(
        update(recordings)
        .where(recordings.c.session_id == session_id, recordings.c.status == "processing")
        .values(status=status, duration=duration)
    )
    return of_session(connection, session_id)


def of_session(connection: Connection, session_id: str) -> list[Recording]:
    query = select(*_COLUMNS).where(recordings.c.session_id == session_id)
    return [Recording(**row._mapping) for row in connection.execute(query.order_by(recordings.c.id))]


def find(connection: Connection, recording_id: str, organization_id: str | None) -> Recording:
    """Raises PeerFault RECORDING_NOT_FOUND, also for another organization's."""
    if not recording_id.isascii() or not recording_id.isprintable():  # a NUL could not be asked for
        raise PeerFault(Fault.RECORDING_NOT_FOUND, "this is no id of a recording")
    query = select(*_COLUMNS).where(recordings.c.id == recording_id)
    if organization_id is not None:
        query = query.where(recordings.c.organization_id == organization_id)
    row = connection.execute(query).first()
    if row is None:
        raise PeerFault(Fault.RECORDING_NOT_FOUND, f"there is no recording {recording_id}")
    return Recording(**row._mapping)


def expire(connection: Connection, before: float) -> list[str]:
    """Delete the rows of recordings made before this time; returns the sessions whose files must go."""
    old = (recordings.c.created_at < before) & (recordings.c.status != "processing")
    ids: list[str] = list(connection.execute(select(recordings.c.session_id).where(old).distinct()).scalars())
    connection.execute(delete(recordings).where(old))
    return ids


def view(recording: Recording) -> dict[str, Any]:
    frames = round(recording.duration * RATE)
    ready = recording.status == "ready"
    return {
        "id": recording.id,
        "object": "recording",
        "session_id": recording.session_id,
        "channel": recording.channel,
        "duration": recording.duration,
        "format": "wav",
        "size": wav_size(recording.channel, frames) if ready else 0,
        "status": recording.status,
        "created_at": iso(recording.created_at),
        "download_url": f"/v1/recordings/{recording.id}/audio",
    }


def folder(data_dir: Path, session_id: str) -> Path:
    return data_dir / "recordings" / session_id


def master(data_dir: Path, session_id: str) -> GrowingWav:
    return GrowingWav(folder(data_dir, session_id) / "tracks.wav", r.CHANNELS)


def remove_files(data_dir: Path, session_ids: list[str]) -> None:
    for session_id in session_ids:
        shutil.rmtree(folder(data_dir, session_id), ignore_errors=True)


def wav_size(channel: str, frames: int) -> int:
    return PCM_HEADER + frames * 2 * len(RENDERINGS[channel])


def render(source: GrowingWav, channel: str, first: int, count: int) -> Samples:
    """Samples of a rendering. (count, output channels) int16"""
    octets = source.read(first, count)
    tracks = mulaw.decode(octets).reshape(-1, source.channels)
    sums = [tracks[:, parts].sum(axis=1, dtype=np.int32) for parts in RENDERINGS[channel]]
    mixed: Samples = np.clip(np.stack(sums, axis=1), -32768, 32767).astype(np.int16)
    return mixed


def wav_octets(source: GrowingWav, channel: str, frames: int, start: int, stop: int) -> Iterator[bytes]:
    """Octets start … stop of the WAV file that this rendering would be."""
    header = pcm_header(len(RENDERINGS[channel]), frames)
    if start < PCM_HEADER:
        yield header[start : min(stop, PCM_HEADER)]
    width = 2 * len(RENDERINGS[channel])
    at = max(start - PCM_HEADER, 0)
    end = stop - PCM_HEADER
    while at < end:
        first = at // width
        count = min(_PIECE, -(-end // width) - first)
        piece = render(source, channel, first, count).astype("<i2").tobytes()
        if not piece:
            return
        piece = piece[at - first * width : end - first * width]
        yield piece
        at += len(piece)


def encode_mp3(source: GrowingWav, channel: str, target: Path) -> None:
    """Write the rendering as MP3. The file appears when it is complete. Slow: not for the event loop."""
    layout = "stereo" if len(RENDERINGS[channel]) == 2 else "mono"
    partial = target.with_suffix(f".{os.getpid()}.partial")
    with av.open(str(partial), "w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=RATE, layout=layout)
        stream.bit_rate = 32_000 * len(RENDERINGS[channel])
        total = source.frames()
        for first in range(0, total, _PIECE):
            samples = render(source, channel, first, min(_PIECE, total - first))
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "s16", layout)
            frame.sample_rate = RATE
            frame.pts = first
            frame.time_base = Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    partial.replace(target)
