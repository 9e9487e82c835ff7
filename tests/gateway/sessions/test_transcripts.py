"""gateway/sessions/transcripts.py"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions import transcripts
from gateway.sessions.schema import TranscriptView
from gateway.sessions.transcripts import Turn, as_srt, as_text, as_vtt, words
from tests.support.session_service import audio_input, service

TURNS = [
    Turn("seg_1", "customer", "en", "Good morning.", 0.9, 1200, 2400, 10.0, "es", "Buenos días.", 1),
    Turn("seg_2", "agent", "es", "a <b> & -->\n\nc", 0.8, 3_723_004, 3_723_004, 20.0, None, None, 2),
]


def test_text() -> None:
    assert as_text(TURNS) == "customer: Good morning.\n    [es] Buenos días.\nagent: a <b> & -> c\n"
    assert as_text([]) == ""


def test_srt() -> None:
    assert as_srt(TURNS) == (
        "1\n00:00:01,200 --> 00:00:02,400\ncustomer: Good morning.\nBuenos días.\n\n"
        "2\n01:02:03,004 --> 01:02:03,005\nagent: a <b> & -> c\n\n"
    )


def test_vtt() -> None:
    assert as_vtt(TURNS) == (
        "WEBVTT\n\n00:00:01.200 --> 00:00:02.400\n<v customer>Good morning.</v>\n<i>Buenos días.</i>\n\n"
        "01:02:03.004 --> 01:02:03.005\n<v agent>a &lt;b&gt; &amp; -&gt; c</v>\n\n"
    )
    assert as_vtt([]) == "WEBVTT\n\n"


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(0, 10**7), st.integers(0, 10**7)), max_size=6))
def test_no_text_can_break_a_cue(said: list[tuple[str, int, int]]) -> None:
    turns = [
        Turn(f"s{n}", "customer", "en", text, 1.0, start, end, 0.0, "es", text, n)
        for n, (text, start, end) in enumerate(said, 1)
    ]
    times = re.compile(r"^\d\d+:\d\d:\d\d[,.]\d{3} --> \d\d+:\d\d:\d\d[,.]\d{3}$", re.M)
    assert len(times.findall(as_srt(turns))) == len(turns)
    assert as_srt(turns).count("-->") == as_vtt(turns).count("-->") == len(turns)
    assert len([block for block in as_srt(turns).split("\n\n") if block.strip()]) == len(turns)


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("one", 1), (" two  words\n", 2), ("お早う", 3), ("你好 world", 3)]
)
def test_words(text: str, count: int) -> None:
    assert words(text) == count


def test_what_no_database_can_hold_is_left_out(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            live = kit.hub.sessions[session["id"]]
            live.final("seg\0", "customer", "en", "hel\0lo", 0, 10, 1.0, ("es", "ho\0la"))
            await kit.settled()
            (turn,) = (await kit.get(f"/v1/sessions/{session['id']}/transcript")).json()["turns"]
            assert (turn["text"], turn["translation"]["text"]) == ("hello", "hola")

    asyncio.run(scenario())


def test_live_then_completed(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            path = f"/v1/sessions/{session['id']}/transcript"
            empty = (await kit.get(path)).json()
            assert (empty["status"], empty["turns"]) == ("in_progress", [])
            async with kit.stream(session) as client:
                client.send(audio_input("customer", 0, b"\x55"))
                await client.synced()
                live = kit.hub.sessions[session["id"]]
                live.final("seg_a", "customer", "en", "Good morning.", 0, 900, 0.9, ("es", "Buenos días."))
                live.final("seg_b", "agent", "es", "Hola.", 1000, 1500, 0.8, None, {"sources": ["a.md"]})
                await kit.settled()
                shown = (await kit.get(f"/v1/sessions/{session['id']}")).json()
                assert shown["transcript"] == {"available": True, "word_count": 3}
                text = await kit.get(path + "?format=text")
                assert text.headers["content-type"].startswith("text/plain")
                assert text.text.startswith("customer: Good morning.\n")
                kit.clock.now += 4
                client.send({"type": "session.end"})
                await client.close_code()
            await kit.until(lambda: not kit.hub.sessions)
            done: dict[str, Any] = (await kit.get(path)).json()
            TranscriptView.model_validate(done, strict=True)
            assert done["id"] == "trn_" + session["id"].removeprefix("sess_")
            assert done["status"] == "completed"
            assert done["turns"][0] == {
                "sequence": 1, "speaker": "customer", "language": "en", "text": "Good morning.",
                "translation": {"language": "es", "text": "Buenos días."}, "confidence": 0.9,
                "timestamp": "2027-01-15T08:00:00.000Z", "start_ms": 0, "end_ms": 900,
            }  # fmt: skip
            assert done["turns"][1]["metadata"] == {"sources": ["a.md"]}
            assert done["metadata"] == {
                "total_turns": 2, "duration_seconds": 4.0, "languages_detected": ["en", "es"],
            }  # fmt: skip
            assert (await kit.get(path + "?format=vtt")).headers["content-type"].startswith("text/vtt")
            assert (await kit.get(path + "?format=srt")).text.startswith("1\n00:00:00,000 -->")
            bad = await kit.get(path + "?format=pdf")
            assert (bad.status_code, bad.json()["error"]["param"]) == (400, "format")
            again = (await kit.get(f"/v1/sessions/{session['id']}")).json()
            assert again["transcript"]["word_count"] == 3

    asyncio.run(scenario())


def test_transcription_can_be_off_and_so_can_partials(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            off = await kit.create(transcription={"enabled": False})
            finals_only = await kit.create(transcription={"partials": False})
            for session, kinds in ((off, []), (finals_only, ["transcript.final"])):
                async with kit.stream(session) as client:
                    await client.receive("session.ready")
                    live = kit.hub.sessions[session["id"]]
                    live.partial("s", "customer", "en", "Good", 0)
                    live.final("s", "customer", "en", "Good morning.", 0, 900, 0.9, None)
                    client.send({"type": "ping"})
                    for kind in [*kinds, "pong"]:
                        assert (await client.receive())["type"] == kind
                await kit.settled()
                stored = await kit.database.run(transcripts.load, session["id"])
                assert len(stored) == len(kinds)

    asyncio.run(scenario())
