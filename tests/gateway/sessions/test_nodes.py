"""gateway/sessions/nodes.py: two services on one database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gateway.sessions import deliveries, nodes, store
from tests.support.session_service import Clock, Kit, audio_input, service

HOOK = "http://127.0.0.1:9/hook"


def two(url: str, scenario: Callable[[Kit, Kit], Awaitable[None]]) -> None:
    """Nodes a and b, one clock."""

    async def main() -> None:
        clock = Clock()
        async with (
            service(url, clock, node="a", webhook_url=HOOK) as a,
            service(url, clock, node="b", webhook_url=HOOK) as b,
        ):
            b.http.headers["Authorization"] = f"Bearer {a.key}"
            await a.members.step()
            await scenario(a, b)

    asyncio.run(main())


def test_any_node_answers_and_names_the_owner(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session = await a.create()
        seen = (await b.get(f"/v1/sessions/{session['id']}")).json()
        assert seen["stream"]["url"] == session["stream"]["url"]
        async with a.stream(seen) as client:  # a token of b opens a stream of a
            client.send(audio_input("customer", 0, b"\x55"))
            await client.synced()
            await a.settled()
            assert (await b.get(f"/v1/sessions/{session['id']}")).json()["status"] == "active"

    two(database_url, scenario)


def test_a_session_is_ended_through_the_other_node(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session = await a.create()
        async with a.stream(session) as client:
            await client.receive("session.ready")

            async def owner() -> None:
                while a.hub.sessions:
                    await a.members.step()
                    await asyncio.sleep(0.02)

            ended, _ = await asyncio.gather(b.post(f"/v1/sessions/{session['id']}/end", {"reason": "done"}), owner())
            assert ended.status_code == 200
            assert await client.close_code() == 1000
        found = await b.database.run(store.find_session, session["id"], None)
        assert (found.status, found.end_reason) == ("ended", "done")

    two(database_url, scenario)


def test_a_dead_nodes_sessions_are_taken_over(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session, own = await a.create(), await b.create()
        async with a.stream(session) as client:
            client.send(audio_input("customer", 0, b"\x55"))
            await client.synced()
            await a.settled()
            a.clock.now += nodes.DEAD_S - 1
            await b.members.step()
            assert set(b.hub.sessions) == {own["id"]}
            a.clock.now += 2  # a has said nothing for longer than that
            await b.members.step()
            assert set(b.hub.sessions) == {own["id"], session["id"]}
            moved = (await b.get(f"/v1/sessions/{session['id']}")).json()
            assert moved["stream"]["url"] != session["stream"]["url"]
            await a.members.step()  # a was only slow: it lets go
            assert await client.close_code() == 1012
            assert not a.hub.sessions
        async with b.stream(moved) as again:
            again.send(audio_input("customer", 1, b"\x55"))
            again.send({"type": "session.end"})
            assert await again.close_code() == 1000
        await b.until(lambda: set(b.hub.sessions) == {own["id"]})
        found = await b.database.run(store.find_session, session["id"], None)
        assert (found.status, found.node) == ("ended", "b")

    two(database_url, scenario)


def test_what_a_slow_node_still_writes_is_refused(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session = await a.create()
        a.clock.now += nodes.DEAD_S + 1
        await b.members.step()
        await a.hub.end(session["id"], "by the slow node", a.clock.now)
        found = await b.database.run(store.find_session, session["id"], None)
        assert (found.status, found.node) == ("created", "b")

    two(database_url, scenario)


def test_one_idempotency_key_on_both_nodes_is_one_session(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        body = {"mode": "help_chat_voice"}
        for n in range(10):
            one, other = await asyncio.gather(
                a.post("/v1/sessions", body, Idempotency_Key=f"k{n}"),
                b.post("/v1/sessions", body, Idempotency_Key=f"k{n}"),
            )
            assert {one.status_code, other.status_code} <= {201, 409}
            made = {r.json()["id"] for r in (one, other) if r.status_code == 201}
            assert len(made) == 1
        assert len(a.hub.sessions) + len(b.hub.sessions) == 10

    two(database_url, scenario)


def test_webhooks_are_claimed_by_one_node(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        for _ in range(20):
            await a.create()

        def claim(kit: Kit) -> Awaitable[list[Any]]:
            return kit.database.run(deliveries.claim, kit.clock.now, 15, frozenset())

        one, other = await asyncio.gather(claim(a), claim(b))
        rest = await claim(a)
        numbers = [d.number for d in [*one, *other, *rest]]
        assert len(numbers) == len(set(numbers)) == 20

    two(database_url, scenario)


def test_a_node_that_leaves_is_gone_at_once(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session = await a.create()
        await a.database.run(nodes.leave, "a")
        await b.members.step()
        assert set(b.hub.sessions) == {session["id"]}

    two(database_url, scenario)


def test_after_a_beat_of_unknown_outcome_a_node_asks_what_is_its_own(database_url: str) -> None:
    async def scenario(a: Kit, b: Kit) -> None:
        session = await a.create()
        a.clock.now += nodes.DEAD_S + 1
        await b.members.step()
        # a's beat is stored, but a does not hear of it.
        await a.database.run(nodes.beat, nodes.Node("a", "ws://a", ""), frozenset(), a.clock.now)
        await a.members.step()
        assert set(a.hub.sessions) == {session["id"]}  # it was never in doubt

        async def lost(*_args: object) -> None:
            raise OperationalError("UPDATE nodes", {}, Exception("away"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(a.database, "run", lost)
            with pytest.raises(OperationalError):
                await a.members.step()
        await a.members.step()
        assert not a.hub.sessions

    two(database_url, scenario)
