"""gateway/sessions/chronicle.py: which event tells of what, and in which order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.sessions import chronicle, deliveries, keys, store, transcripts
from gateway.sessions.chronicle import Teller
from gateway.sessions.database import Database
from gateway.sessions.schema import SessionView
from gateway.sessions.studio import Outcome
from gateway.sessions.transcripts import Turn
from tests.gateway.sessions.test_results import recorded
from tests.gateway.sessions.test_store import session
from tests.support.session_service import Kit, audio_input, service

HOOK = "http://127.0.0.1:9/hook"
NOW = 1_800_000_000.0


async def told(kit: Kit, session_id: str) -> list[dict[str, Any]]:
    await kit.settled()
    found = await kit.database.run(lambda c: deliveries.list_deliveries(c, session_id=session_id))
    return [json.loads(delivery.body) for delivery in reversed(found)]


def test_a_whole_life_is_told_in_order(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url, webhook_url=HOOK) as kit:
            session = await kit.create(source_language="en")
            async with kit.stream(session) as client:
                client.send({"type": "call.joined", "speaker": "customer", "call_id": "call_1"})
                client.send({"type": "call.joined", "speaker": "customer", "call_id": "call_1"})
                client.send(audio_input("customer", 0, b"\x55"))
                await client.synced()
                kit.hub.sessions[session["id"]].final("s1", "customer", "en", "Hello.", 0, 9, 1.0, None)
                client.send({"type": "call.held", "speaker": "customer", "call_id": "call_1"})
                await client.synced()
                assert (await kit.get(f"/v1/sessions/{session['id']}")).json()["call"] == {
                    "id": "call_1", "status": "held", "direction": "inbound", "sip_call_id": None,
                }  # fmt: skip
                client.send({"type": "call.left", "speaker": "customer", "call_id": "call_1"})
                client.send({"type": "session.end"})
                await client.close_code()
            await kit.until(lambda: not kit.hub.sessions)
            events = await told(kit, session["id"])
            assert [event["type"] for event in events] == [
                "session.created", "session.provider.connected", "session.started", "transcript.segment",
                "session.provider.disconnected", "transcript.ready", "session.ended",
            ]  # fmt: skip
            assert len({event["id"] for event in events}) == len(events)
            for event in events:
                assert event["api_version"] == "v1"
                if event["type"].startswith("session."):
                    SessionView.model_validate(event["data"])
                    assert "stream" not in event["data"]
            assert events[2]["data"]["status"] == "active"
            assert events[3]["data"]["text"] == "Hello."
            assert events[5]["data"]["metadata"]["total_turns"] == 1
            assert (events[6]["data"]["status"], events[6]["data"]["call"]["status"]) == ("ended", "ended")

    asyncio.run(scenario())


def test_recordings_are_told_of(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with service(database_url, webhook_url=HOOK, data_dir=tmp_path) as kit:
            session = await recorded(kit, "mixed")
            events = await told(kit, session["id"])
            assert [event["type"] for event in events][2:] == [
                *["recording.ready"] * 3, "transcript.ready", "session.ended",
            ]  # fmt: skip
            assert [event["data"]["channel"] for event in events[2:5]] == ["mixed", "customer", "agent"]

    asyncio.run(scenario())


def test_a_failed_recording(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "recordings").write_text("in the way")
        async with service(database_url, webhook_url=HOOK, data_dir=tmp_path) as kit:
            session = await recorded(kit)
            events = await told(kit, session["id"])
            assert [e["type"] for e in events].count("recording.failed") == 3
            listed = (await kit.get(f"/v1/sessions/{session['id']}/recordings")).json()["data"]
            assert {one["status"] for one in listed} == {"failed"}

    asyncio.run(scenario())


def test_what_was_heard_of_a_turn_is_told_again_only_after_an_interruption(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    record = session()
    record.options = {
        "transcription": {"enabled": True, "partials": True}, "participants": [],
        "recording": {"enabled": False, "channels": "dual"},
    }  # fmt: skip
    database.call(store.add_session, record)
    teller = Teller("main", HOOK)
    turn = Turn("seg_1", "customer", "en", "one two", 0.9, 0, 900, NOW, "es", "uno dos")
    database.call(chronicle.spoken, teller, record.id, turn, NOW)
    database.call(chronicle.settled, teller, record.id, "seg_1", ("es", "uno dos"), {"timing_ms": {"heard": 700}}, NOW)
    (stored,) = database.call(transcripts.load, record.id)
    assert (stored.translation_text, stored.metadata) == ("uno dos", {"timing_ms": {"heard": 700}})
    assert len(database.call(deliveries.list_deliveries)) == 1
    database.call(chronicle.settled, teller, record.id, "seg_1", ("es", "uno\0"), {"interrupted": True}, NOW)
    (stored,) = database.call(transcripts.load, record.id)
    assert (stored.translation_text, stored.text, stored.sequence) == ("uno", "one two", 1)
    assert [one.type for one in database.call(deliveries.list_deliveries)] == ["transcript.segment"] * 2
    assert not database.call(chronicle.settled, teller, record.id, "seg_9", None, {"interrupted": True}, NOW)


@pytest.mark.parametrize("node", ["main", "other"])
def test_finalizing_is_told_once_and_by_its_node_only(database: Database, node: str) -> None:
    database.call(keys.ensure_organization, NOW)
    record = session()
    record.options = {
        "transcription": {"enabled": True, "partials": True}, "participants": [],
        "recording": {"enabled": False, "channels": "dual"},
    }  # fmt: skip
    database.call(store.add_session, record)
    teller = Teller(node, HOOK)
    for _ in range(2):
        values = {"status": "ended", "ended_at": NOW, "end_reason": "x"}
        database.call(chronicle.finalized, teller, record.id, values, Outcome(True, 1.0), NOW)
    kinds = [d.type for d in database.call(deliveries.list_deliveries)]
    assert kinds == (["session.ended", "transcript.ready"] if node == "main" else [])
