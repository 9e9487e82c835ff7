"""The recordings in the making: one recorder a session, its file, its timeline, and the thread that writes.

Owns when what is written. A second after it was heard audio is on its way to the disk, so that a killed
process loses less than two; a disk that does not keep up, or is full, fails the recording and not the call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from gateway.sessions import recordings
from gateway.sessions.recorder import Block, Recorder
from gateway.sessions.wav import RATE, GrowingWav

_log = structlog.get_logger(__name__)

#: Seconds between two writes of one session; and how far behind a disk may fall.
FLUSH_S: Final = 0.9
BEHIND_S: Final = 60.0
TRACKS: Final = ("customer", "agent", "translation_to_customer", "translation_to_agent")


class Outcome(NamedTuple):
    """How a recording came out. duration: seconds."""

    good: bool
    duration: float


class _Take:
    """One session's recording."""

    def __init__(self, session_id: str, recorder: Recorder, file: GrowingWav, due: float) -> None:
        self.session_id = session_id
        self.recorder = recorder
        self.file = file
        self.due = due
        self.lines: list[str] = []
        self.failed: str | None = None


class Studio:
    """Everything that is recorded now. clock: Unix seconds."""

    def __init__(self, data_dir: Path, clock: Callable[[], float]) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._takes: dict[str, _Take] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recordings")
        self._writing: asyncio.Future[None] | None = None

    def start(self, session_id: str, started_at: float) -> None:
        """Begin, or go on after a restart with what is on the disk."""
        file = recordings.master(self._data_dir, session_id)
        written, failed = 0, None
        try:
            file.create()
            written = file.mend()
        except OSError as error:
            failed = str(error)
        take = _Take(session_id, Recorder(started_at, written), file, self._clock() + FLUSH_S)
        if failed is not None:
            self._fail(take, failed)
        self._takes[session_id] = take

    def heard(self, session_id: str, speaker: str, timestamp_ms: int, octets: bytes) -> None:
        take = self._takes.get(session_id)
        if take is not None and take.failed is None:
            take.recorder.heard(speaker, timestamp_ms, octets, self._clock())

    def said(self, session_id: str, speaker: str, target: str | None, octets: bytes) -> None:
        take = self._takes.get(session_id)
        if take is not None and take.failed is None:
            take.recorder.said(speaker, target, octets, self._clock())

    def cleared(self, session_id: str, target: str, dropped_ms: int) -> None:
        take = self._takes.get(session_id)
        if take is not None:
            take.recorder.cleared(target, dropped_ms, self._clock())

    def rejoined(self, session_id: str, speaker: str) -> None:
        take = self._takes.get(session_id)
        if take is not None:
            take.recorder.rejoined(speaker)

    def note(self, session_id: str, kind: str, **what: Any) -> None:
        """A line of the timeline, at now."""
        take = self._takes.get(session_id)
        if take is not None:
            at_ms = take.recorder.position(self._clock()) * 1000 // RATE
            take.lines.append(json.dumps({"at_ms": at_ms, "type": kind, **what}))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(0.1)
            self.sweep()

    def sweep(self) -> None:
        """Hand what is due to the writer, unless it is still busy."""
        now = self._clock()
        if self._writing is not None and not self._writing.done():
            for take in self._takes.values():
                if take.failed is None and now - take.due > BEHIND_S:
                    self._fail(take, "the disk does not keep up")
            return
        due = [take for take in self._takes.values() if take.due <= now]
        if due:
            work = [(take, take.recorder.take(now), _taken(take.lines)) for take in due]
            for take in due:
                take.due = now + FLUSH_S
            self._writing = asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    async def finish(self, session_id: str, started_at: float) -> Outcome:
        """Write the rest; all tracks end together. Also finishes what a former process left."""
        take = self._takes.get(session_id)
        if take is None:
            self.start(session_id, started_at)
            take = self._takes[session_id]
            take.recorder.started_at = self._clock() - take.recorder.written / RATE  # nothing to add
        loop = asyncio.get_running_loop()
        now, more = self._clock(), True
        while more:
            block = take.recorder.take(now, final=True)
            more = bool(block.octets) and take.failed is None
            work = [(take, block, _taken(take.lines))]
            await loop.run_in_executor(self._writer, self._write, work)
        del self._takes[session_id]
        return await loop.run_in_executor(self._writer, self._complete, take)

    def abandon(self, session_id: str) -> None:
        """Another process goes on with this recording."""
        self._takes.pop(session_id, None)

    async def close(self) -> None:
        """The process stops: what was heard is written, the takes stay for the next process."""
        now = self._clock()
        work = [(take, take.recorder.take(now, final=True), _taken(take.lines)) for take in self._takes.values()]
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)
        self._writer.shutdown()

    # ---- on the writer's thread --------------------------------------------------------------------

    def _write(self, work: list[tuple[_Take, Block, list[str]]]) -> None:
        for take, block, lines in work:
            if take.failed is not None:
                continue
            try:
                if block.octets or block.late:
                    take.file.append(block.octets, block.late)
                if lines:
                    with (take.file.path.parent / "timeline.jsonl").open("a") as timeline:
                        timeline.write("".join(line + "\n" for line in lines))
            except OSError as error:
                self._fail(take, str(error))

    def _complete(self, take: _Take) -> Outcome:
        try:
            frames = take.file.frames()
            _write_timeline(take.file.path.parent, take.session_id, frames)
        except OSError as error:
            self._fail(take, str(error))
            return Outcome(False, 0.0)
        return Outcome(take.failed is None, frames / RATE)

    def _fail(self, take: _Take, why: str) -> None:
        take.failed = why
        _log.error("recording_failed", session_id=take.session_id, error=why)


def _taken(lines: list[str]) -> list[str]:
    taken = lines[:]
    lines.clear()
    return taken


def _write_timeline(folder: Path, session_id: str, frames: int) -> None:
    """From the lines that were appended to one document. A half line is what a crash left: dropped."""
    lines = folder / "timeline.jsonl"
    events = []
    if lines.exists():
        for line in lines.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                _log.warning("timeline_line_dropped", session_id=session_id)
    document = {
        "session_id": session_id,
        "sample_rate_hz": RATE,
        "duration_ms": frames * 1000 // RATE,
        "tracks": TRACKS,
        "events": events,
    }
    partial = folder / "timeline.partial"
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(folder / "timeline.json")
    lines.unlink(missing_ok=True)
