"""gateway/sessions/studio.py"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.sessions import recordings
from gateway.sessions.studio import Studio
from gateway.sessions.wav import GrowingWav
from tests.support.session_service import Clock


def speak(studio: Studio, clock: Clock, seconds: float, start_ms: int = 0) -> None:
    for n in range(int(seconds * 50)):
        clock.now += 0.02
        studio.heard("sess_1", "customer", start_ms + n * 20, b"\x01" * 160)


def test_from_start_to_finish(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        began = clock.now
        studio = Studio(tmp_path, clock)
        studio.start("sess_1", began)
        speak(studio, clock, 3)
        studio.note("sess_1", "held", speaker="customer")
        outcome = await studio.finish("sess_1", began)
        assert outcome == (True, 3.0)
        file = recordings.master(tmp_path, "sess_1")
        assert file.frames() == 24_000
        assert set(file.read(0, 24_000)[::4]) == {1}
        timeline = json.loads((file.path.parent / "timeline.json").read_text())
        assert timeline["duration_ms"] == 3000
        assert timeline["events"] == [{"at_ms": 3000, "type": "held", "speaker": "customer"}]
        assert not (file.path.parent / "timeline.jsonl").exists()
        await studio.close()

    asyncio.run(scenario())


def test_at_most_two_seconds_are_in_memory_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        began = clock.now
        studio = Studio(tmp_path, clock)
        studio.start("sess_1", began)
        file = recordings.master(tmp_path, "sess_1")
        for n in range(100):
            speak(studio, clock, 0.1, n * 100)
            studio.sweep()
            if studio._writing is not None:
                await studio._writing
            assert (clock.now - began) - file.frames() / 8000 <= 2.0
        await studio.close()

    asyncio.run(scenario())


def test_another_process_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        began = clock.now
        studio = Studio(tmp_path, clock)
        studio.start("sess_1", began)
        speak(studio, clock, 2)
        studio.sweep()
        await studio.close()
        folder = recordings.folder(tmp_path, "sess_1")
        (folder / "timeline.jsonl").write_text('{"at_ms": 1, "type": "held"}\n{"at_ms": 2, "ty')
        clock.now += 5
        again = Studio(tmp_path, clock)
        again.start("sess_1", began)
        speak(again, clock, 1, 7000)
        assert await again.finish("sess_1", began) == (True, 8.0)
        track = recordings.master(tmp_path, "sess_1").read(0, 64_000)[::4]
        assert track == b"\x01" * 16_000 + b"\xff" * 40_000 + b"\x01" * 8000
        assert len(json.loads((folder / "timeline.json").read_text())["events"]) == 1
        await again.close()

    asyncio.run(scenario())


def test_what_a_former_process_left_is_finished_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        began = clock.now
        studio = Studio(tmp_path, clock)
        studio.start("sess_1", began)
        speak(studio, clock, 2)
        await studio.close()
        clock.now += 1000
        again = Studio(tmp_path, clock)
        assert await again.finish("sess_1", began) == (True, 2.0)
        await again.close()

    asyncio.run(scenario())


def test_a_full_disk_fails_the_recording_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: GrowingWav, octets: bytes, patches: object) -> None:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        clock = Clock()
        began = clock.now
        studio = Studio(tmp_path, clock)
        studio.start("sess_1", began)
        speak(studio, clock, 1)
        monkeypatch.setattr(GrowingWav, "append", full)
        speak(studio, clock, 1, 1000)
        assert not (await studio.finish("sess_1", began)).good
        await studio.close()

    asyncio.run(scenario())


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "recordings").write_text("in the way")
        studio = Studio(tmp_path, Clock())
        studio.start("sess_1", 0.0)
        studio.heard("sess_1", "customer", 0, b"\x01")
        assert await studio.finish("sess_1", 0.0) == (False, 0.0)
        await studio.close()

    asyncio.run(scenario())


def test_what_is_not_recorded_is_ignored(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = Studio(tmp_path, Clock())
        studio.heard("sess_9", "customer", 0, b"\x01")
        studio.said("sess_9", "customer", None, b"\x01")
        studio.cleared("sess_9", "agent", 5)
        studio.rejoined("sess_9", "agent")
        studio.note("sess_9", "held")
        studio.abandon("sess_9")
        studio.sweep()
        await studio.close()

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []
