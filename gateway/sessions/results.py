"""The routes to what a session leaves behind: transcript, recordings, audio, timeline (contract §1.2).

Owns HTTP for these: formats, ranges, file names. Rendering is `transcripts.py`'s and `recordings.py`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from fastapi import FastAPI, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from gateway.errors import Fault, PeerFault
from gateway.sessions import openapi, recordings, transcripts
from gateway.sessions.access import Reader, service_of
from gateway.sessions.recordings import Recording
from gateway.sessions.wav import GrowingWav

_encode: Final = msgspec.json.Encoder().encode
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PIECE: Final = 256 * 1024
_TEXTS: Final = {
    "text": ("text/plain; charset=utf-8", transcripts.as_text),
    "srt": ("application/x-subrip", transcripts.as_srt),
    "vtt": ("text/vtt; charset=utf-8", transcripts.as_vtt),
}


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, stop) of a single range (RFC 9110 §14.1.2), None when the whole is to be sent.

    Raises IndexError when nothing of the range is there. Several ranges, other units and bad syntax may be
    ignored (§14.2), and are.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":  # the last so many
        start, stop = max(0, size - int(match[2])), size
        if match[2].strip("0") == "":
            raise IndexError
    else:
        start = int(match[1])
        stop = size if match[2] == "" else min(size, int(match[2]) + 1)
        if match[2] != "" and int(match[2]) < start:
            return None
    if start >= size:
        raise IndexError
    return start, stop


def _file_octets(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (piece := file.read(min(_PIECE, stop - start))):
            yield piece
            start += len(piece)


class Audio:
    """Serves the audio of ready recordings from this node's files."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._encoding: dict[Path, asyncio.Future[None]] = {}

    async def serve(self, recording: Recording, form: str, tracks: str | None, asked: str | None) -> Response:
        """The answer to a request for audio. asked: its Range header."""
        source = recordings.master(self._data_dir, recording.session_id)
        if recording.status != "ready" or not source.path.exists():
            raise PeerFault(Fault.RECORDING_NOT_FOUND, f"recording {recording.id} has no audio (yet)")
        channel = "tracks" if tracks == "all" else recording.channel
        if form == "mp3":
            if tracks == "all":
                raise PeerFault(Fault.INVALID_FIELD, "all tracks are to be had as wav only", param="tracks")
            path = source.path.parent / f"{channel}.mp3"
            await self._encoded(path, source, channel)
            size = path.stat().st_size
        else:
            frames = source.frames()
            size = recordings.wav_size(channel, frames)
        headers = {
            "Content-Disposition": f'attachment; filename="{recording.id}.{form}"',
            "Accept-Ranges": "bytes",
        }
        try:
            part = parse_range(asked, size)
        except IndexError:
            # RFC 9110 §15.5.17: the answer names the size that there is.
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        start, stop = part or (0, size)
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["Content-Length"] = str(stop - start)
        if form == "mp3":
            octets = _file_octets(path, start, stop)
        else:
            octets = recordings.wav_octets(source, channel, frames, start, stop)
        kind = "audio/mpeg" if form == "mp3" else "audio/wav"
        return StreamingResponse(octets, 200 if part is None else 206, headers, media_type=kind)

    async def _encoded(self, path: Path, source: GrowingWav, channel: str) -> None:
        """Make the MP3 unless it is there; who asks meanwhile waits for the same one."""
        if path.exists():  # noqa: ASYNC240  (one stat)
            return
        running = self._encoding.get(path)
        if running is None:
            job = asyncio.to_thread(recordings.encode_mp3, source, channel, path)
            running = self._encoding[path] = asyncio.ensure_future(job)
            running.add_done_callback(lambda _done: self._encoding.pop(path, None))
        await asyncio.shield(running)

    def timeline(self, recording: Recording) -> bytes:
        path = recordings.folder(self._data_dir, recording.session_id) / "timeline.json"
        if not path.exists():
            raise PeerFault(Fault.RECORDING_NOT_FOUND, f"recording {recording.id} has no timeline (yet)")
        return path.read_bytes()


def add_routes(app: FastAPI, audio: Audio) -> None:
    """Transcript, recordings, audio, timeline."""

    @app.get("/v1/sessions/{session_id}/transcript", **openapi.TRANSCRIPT)
    async def retrieve_transcript(
        request: Request,
        principal: Reader,
        session_id: str,
        format: Annotated[Literal["json", "text", "srt", "vtt"], Query()] = "json",
    ) -> Response:
        """The transcript so far, or completed."""
        service = service_of(request)
        session, turns = await service.transcript(principal, session_id)
        if format == "json":
            view = transcripts.transcript_view(session, turns, service.clock())
            return Response(_encode(view), media_type="application/json")
        kind, rendering = _TEXTS[format]
        return Response(rendering(turns).encode(), media_type=kind)

    @app.get("/v1/sessions/{session_id}/recordings", **openapi.RECORDINGS)
    async def list_recordings(request: Request, principal: Reader, session_id: str) -> Response:
        """A session's recordings."""
        listed = await service_of(request).list_recordings(principal, session_id)
        view = {"object": "list", "data": [recordings.view(one) for one in listed]}
        return Response(_encode(view), media_type="application/json")

    @app.get("/v1/recordings/{recording_id}", **openapi.RECORDING)
    async def retrieve_recording(request: Request, principal: Reader, recording_id: str) -> Response:
        """One recording."""
        one = await service_of(request).recording(principal, recording_id)
        return Response(_encode(recordings.view(one)), media_type="application/json")

    @app.get("/v1/recordings/{recording_id}/audio", **openapi.AUDIO)
    async def download_recording(
        request: Request,
        principal: Reader,
        recording_id: str,
        format: Annotated[Literal["wav", "mp3"], Query()] = "wav",
        tracks: Annotated[Literal["all"] | None, Query(description=openapi.TRACKS)] = None,
        range: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Response:
        """The audio: 16 bit WAV or MP3, at 8000 Hz; any range of it."""
        one = await service_of(request).recording(principal, recording_id)
        return await audio.serve(one, format, tracks, range)

    @app.get("/v1/recordings/{recording_id}/timeline", **openapi.TIMELINE)
    async def retrieve_timeline(request: Request, principal: Reader, recording_id: str) -> Response:
        """What happened when, in milliseconds of the recording (extension)."""
        one = await service_of(request).recording(principal, recording_id)
        return Response(audio.timeline(one), media_type="application/json")
