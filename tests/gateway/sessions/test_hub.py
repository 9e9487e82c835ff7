"""gateway/sessions/hub.py"""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import DatabaseError, OperationalError

from gateway.errors import Fault, PeerFault
from gateway.sessions import chronicle, store
from gateway.sessions.lifecycle import Limits
from tests.support.session_service import Clock, Kit, audio_input, service


async def stored(kit: Kit, session_id: str) -> store.Session:
    await kit.settled()
    return await kit.database.run(store.find_session, session_id, None)


def test_from_created_to_ended(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            async with kit.stream(session) as client:
                await client.synced()
                assert (await stored(kit, session["id"])).status == "connecting"
                kit.clock.now += 3
                client.send(audio_input("customer", 0, b"\x55" * 160))
                await client.synced()
                row = await stored(kit, session["id"])
                assert (row.status, row.started_at) == ("active", kit.clock.now)
                kit.clock.now += 5
                client.send({"type": "session.end"})
                assert await client.close_code() == 1000
            await kit.until(lambda: not kit.hub.sessions)
            row = await stored(kit, session["id"])
            assert (row.status, row.end_reason, row.ended_at) == ("ended", "explicit_end", kit.clock.now)
            view = (await kit.get(f"/v1/sessions/{session['id']}")).json()
            assert view["usage"]["active_seconds"] == view["duration"] == 5
            assert "stream" not in view

    asyncio.run(scenario())


def test_the_reconnection_window_and_inactivity(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url, limits=Limits(300, 1800)) as kit:
            dropped, idle = await kit.create(), await kit.create()
            async with kit.stream(dropped) as client:
                await client.synced()
            await kit.until(lambda: not kit.streams.streams)
            kit.clock.now += 299
            kit.hub.sweep(kit.clock.now)
            assert len(kit.hub.sessions) == 2
            kit.clock.now += 1
            kit.hub.sweep(kit.clock.now)
            await kit.until(lambda: len(kit.hub.sessions) == 1)
            assert (await stored(kit, dropped["id"])).end_reason == "timeout"
            kit.clock.now += 1500
            kit.hub.sweep(kit.clock.now)
            await kit.until(lambda: not kit.hub.sessions)
            assert (await stored(kit, idle["id"])).end_reason == "timeout"

    asyncio.run(scenario())


def test_a_timeout_is_told_to_an_idle_stream(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit, kit.stream(await kit.create()) as client:
            await client.synced()
            kit.clock.now += 1800
            kit.hub.sweep(kit.clock.now)
            assert (await client.receive("session.ended"))["reason"] == "timeout"
            assert await client.close_code() == 1000

    asyncio.run(scenario())


def test_a_restart_goes_on_with_what_was_there(database_url: str) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with service(database_url, clock) as kit:
            fresh, active, ended = [await kit.create() for _ in range(3)]
            async with kit.stream(active) as client:
                client.send(audio_input("customer", 0, b"\x55"))
                await client.synced()
            await kit.post(f"/v1/sessions/{ended['id']}/end")
        clock.now += 60
        async with service(database_url, clock) as kit:
            assert set(kit.hub.sessions) == {fresh["id"], active["id"]}
            async with kit.stream((await kit.get(f"/v1/sessions/{active['id']}")).json()) as client:
                client.send(audio_input("customer", 1, b"\x55"))
                await client.synced()
                row = await stored(kit, active["id"])
                assert (row.status, row.started_at) == ("active", clock.now - 60)
        clock.now += 60
        async with service(database_url, clock) as kit:
            clock.now += 300  # nobody came back
            kit.hub.sweep(clock.now)
            await kit.until(lambda: set(kit.hub.sessions) == {fresh["id"]})
            assert (await stored(kit, active["id"])).end_reason == "timeout"

    asyncio.run(scenario())


def test_killed_between_end_and_completion(database_url: str) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with service(database_url, clock) as kit:
            session = await kit.create()
            kit.hub.sessions.clear()  # as a kill would
            values = {"status": "ending", "ended_at": clock.now + 1, "end_reason": "explicit_end"}
            await kit.database.run(store.save_progress, session["id"], "main", values)
        async with service(database_url, clock) as kit:
            await kit.until(lambda: not kit.hub.sessions)
            row = await stored(kit, session["id"])
            assert (row.status, row.ended_at, row.end_reason) == ("ended", clock.now + 1, "explicit_end")

    asyncio.run(scenario())


def test_an_end_that_could_not_be_written_is_written_later(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> bool:
        raise DatabaseError("UPDATE", {}, Exception("the disk has an opinion of its own"))

    async def scenario() -> None:
        async with service(database_url) as kit:
            session, other = await kit.create(), await kit.create()
            with monkeypatch.context() as broken:
                broken.setattr(chronicle, "finalized", refused)
                with pytest.raises(DatabaseError):
                    await kit.hub.end(session["id"], None, kit.clock.now)
            assert (await stored(kit, session["id"])).status == "ending"
            assert set(kit.hub.sessions) == {other["id"]}
            await kit.hub.find_lost()
            assert set(kit.hub.sessions) == {other["id"]}  # it might be an end under way
            await kit.hub.find_lost()
            await kit.until(lambda: set(kit.hub.sessions) == {other["id"]})
            row = await stored(kit, session["id"])
            assert (row.status, row.end_reason) == ("ended", "explicit_end")
            await kit.hub.find_lost()
            await kit.hub.find_lost()
            assert set(kit.hub.sessions) == {other["id"]}

    asyncio.run(scenario())


def test_a_database_that_is_away_loses_no_session(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> list[store.Session]:
        raise OperationalError("SELECT", {}, ConnectionError("the database is away"))

    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            with monkeypatch.context() as broken:
                broken.setattr(store, "unfinished", away)
                await kit.hub.find_lost()
            assert set(kit.hub.sessions) == {session["id"]}

    asyncio.run(scenario())


def test_ending_twice_at_once_gives_one_end(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            one, two = await asyncio.gather(
                kit.hub.end(session["id"], "first", kit.clock.now),
                kit.hub.end(session["id"], "second", kit.clock.now),
            )
            assert one.end_reason == two.end_reason == "first"
            with pytest.raises(PeerFault) as caught:
                await kit.hub.end(session["id"], None, kit.clock.now)
            assert caught.value.fault is Fault.SESSION_NOT_FOUND

    asyncio.run(scenario())


def test_signs_of_life_are_stored(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url) as kit:
            session = await kit.create()
            kit.clock.now += 9
            kit.hub.sessions[session["id"]].lifecycle.touch(kit.clock.now)
            kit.hub.sweep(kit.clock.now)
            before = (await stored(kit, session["id"])).active_at
            kit.clock.now += 1
            kit.hub.sweep(kit.clock.now)
            assert (await stored(kit, session["id"])).active_at == before + 9
            await kit.settled()
            kit.clock.now += 60
            kit.hub.sweep(kit.clock.now)
            assert kit.hub.journal.backlog == 0  # nothing was heard since

    asyncio.run(scenario())
