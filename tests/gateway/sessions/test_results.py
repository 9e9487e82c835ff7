"""gateway/sessions/results.py"""

from __future__ import annotations

import asyncio
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.results import parse_range
from gateway.sessions.schema import RecordingItem, Timeline
from tests.support.session_service import Kit, audio_input, service


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=200-300"])
def test_ranges_that_lead_nowhere(header: str) -> None:
    with pytest.raises(IndexError):
        parse_range(header, 100)


@given(st.text(max_size=30), st.integers(1, 1000))
def test_any_header(header: str, size: int) -> None:
    made = parse_range(header, size)
    assert made is None or 0 <= made[0] < made[1] <= size


async def recorded(kit: Kit, channels: str = "dual") -> dict[str, Any]:
    """A session of two seconds in which the customer spoke and was answered."""
    session = await kit.create(recording={"enabled": True, "channels": channels})
    async with kit.stream(session) as client:
        for n in range(100):
            client.send(audio_input("customer", n, b"\x10" * 160))
            await client.synced()
            kit.clock.now += 0.02
        client.send({"type": "dtmf", "speaker": "customer", "digit": "5", "duration_ms": 100})
        client.send({"type": "session.end"})
        await client.close_code()
    await kit.until(lambda: not kit.hub.sessions)
    return session


def test_recordings_are_listed_and_downloaded(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with service(database_url, data_dir=tmp_path / "data") as kit:
            session = await recorded(kit)
            listed = (await kit.get(f"/v1/sessions/{session['id']}/recordings")).json()
            assert listed["object"] == "list"
            by_channel = {one["channel"]: one for one in listed["data"]}
            assert list(by_channel) == ["dual", "customer", "agent"]
            dual = by_channel["dual"]
            RecordingItem.model_validate(dual, strict=True)
            assert (dual["status"], dual["duration"], dual["size"]) == ("ready", 2.0, 44 + 64_000)
            assert (await kit.get(f"/v1/recordings/{dual['id']}")).json() == dual
            whole = await kit.get(dual["download_url"])
            assert whole.headers["content-type"] == "audio/wav"
            assert whole.headers["content-length"] == str(dual["size"]) == str(len(whole.content))
            assert whole.headers["content-disposition"] == f'attachment; filename="{dual["id"]}.wav"'
            with wave.open(BytesIO(whole.content)) as read:
                assert (read.getnchannels(), read.getnframes()) == (2, 16_000)
            part = await kit.http.get(dual["download_url"], headers={"Range": "bytes=40-1039"})
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes 40-1039/{dual['size']}"
            assert part.content == whole.content[40:1040]
            none = await kit.http.get(dual["download_url"], headers={"Range": "bytes=9999999-"})
            assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{dual['size']}")
            mp3 = await asyncio.gather(*(kit.get(dual["download_url"] + "?format=mp3") for _ in range(3)))
            assert mp3[0].headers["content-type"] == "audio/mpeg"
            assert len(mp3[0].content) > 1000
            assert {one.content for one in mp3} == {mp3[0].content}
            part = await kit.http.get(dual["download_url"] + "?format=mp3", headers={"Range": "bytes=-100"})
            assert part.content == mp3[0].content[-100:]
            tracks = await kit.get(dual["download_url"] + "?tracks=all")
            with wave.open(BytesIO(tracks.content)) as read:
                assert read.getnchannels() == 4
            timeline = (await kit.get(f"/v1/recordings/{dual['id']}/timeline")).json()
            Timeline.model_validate(timeline)
            assert [e["type"] for e in timeline["events"]] == ["dtmf"]
            for path in ("?format=ogg", "?tracks=some", "?format=mp3&tracks=all"):
                assert (await kit.get(dual["download_url"] + path)).status_code == 400
            stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
            for path in (dual["download_url"], f"/v1/recordings/{dual['id']}"):
                response = await kit.http.get(path, headers=stranger)
                assert response.json()["error"]["code"] == "recording_not_found"
            path = f"/v1/sessions/{session['id']}/recordings"
            assert (await kit.http.get(path, headers=stranger)).status_code == 404

    asyncio.run(scenario())


def test_before_it_is_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with service(f"sqlite:///{tmp_path}/s.db", data_dir=tmp_path) as kit:
            session = await kit.create(recording={"enabled": True})
            path = f"/v1/sessions/{session['id']}/recordings"
            assert (await kit.get(path)).json()["data"] == []
            async with kit.stream(session) as client:
                client.send(audio_input("customer", 0, b"\x10"))
                await client.synced()
                await kit.settled()
                (one, _, _) = (await kit.get(path)).json()["data"]
                assert (one["status"], one["size"]) == ("processing", 0)
                for path in (one["download_url"], f"/v1/recordings/{one['id']}/timeline"):
                    assert (await kit.get(path)).json()["error"]["code"] == "recording_not_found"

    asyncio.run(scenario())
