"""gateway/sessions/peers.py: the wire between nodes, and two real processes on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows import ws_connect

from gateway.errors import Fault, PeerFault
from gateway.ops.admin import Admin, Answer, as_json
from gateway.sessions import keys, nodes, peers
from gateway.sessions.database import Database
from gateway.sessions.idempotency import Ticket
from gateway.sessions.nodes import Node
from gateway.sessions.orders import NodeAway, Order
from gateway.sessions.peers import Letter, Neighbours
from gateway.sessions.replies import Reply
from gateway.sessions.webhooks import signature
from tests.support import postgresql
from tests.support.session_process import KEY, ServiceProcess
from tests.support.session_service import StreamClient

NOW = 1_800_000_000.0
KEY_OF_ALL = peers.shared_key(b"s")
ORDER = Order("dial", "sess_1", "org_1", {"to": "+1"}, "call_1", Ticket("org_1", "POST /x", "k", "d"))


def neighbour(database: Database, node: str = "b", now: float = NOW, secret: bytes = b"s") -> Neighbours:
    return Neighbours(database, node, secret, lambda: now)


async def _sent(database: Database, node: str, answer: bytes, status: str = "200 OK") -> tuple[Any, bytes]:
    """What came of an order to a node that answers so, and what the node got."""
    got = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        got = head + await reader.readexactly(int(length.split(b":")[1]))
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await database.run(nodes.beat, Node("a", "ws://a", f"http://127.0.0.1:{port}"), frozenset(), NOW)
    asking = neighbour(database)
    try:
        return await asking.send(node, ORDER), got
    except Exception as error:
        return error, got
    finally:
        await asking.close()
        server.close()


def test_an_order_and_its_answer_travel(database: Database) -> None:
    async def main() -> None:
        reply = Reply(202, '{"id":"ü"}'.encode(), {"Idempotent-Replayed": "true"})
        back, got = await _sent(database, "a", peers.replied(reply))
        assert back == reply
        head, _, body = got.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        shown = next(value for name, value in lines.items() if name.lower() == peers.HEADER.lower())
        assert neighbour(database, "a").read(shown, body) == ORDER

    asyncio.run(main())


def test_a_refusal_is_the_other_nodes_own(database: Database) -> None:
    async def main() -> None:
        told = PeerFault(Fault.INVALID_FIELD, "no such trunk", param="trunk")
        error, _ = await _sent(database, "a", peers.refused(told))
        assert isinstance(error, PeerFault)
        assert (error.fault, error.message, error.param) == (Fault.INVALID_FIELD, "no such trunk", "trunk")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("node", "answer", "status"),
    [
        ("nobody", b"", "200 OK"),
        ("a", b"{}", "401 Unauthorized"),
        ("a", b"{}", "302 Found"),
        ("a", b"<html>", "200 OK"),
        ("a", b"\xff", "200 OK"),
        ("a", b"{}", "what?"),
    ],
)
def test_whatever_is_no_answer_is_a_node_that_is_away(
    database: Database, node: str, answer: bytes, status: str
) -> None:
    error, _ = asyncio.run(_sent(database, node, answer, status))
    assert isinstance(error, NodeAway)
    assert f"sess_1 is held by node {node}" in error.message
    assert error.retry_after_s


def test_nobody_there_and_a_node_of_an_older_version(database: Database) -> None:
    async def main() -> None:
        asking = neighbour(database)
        for base in ("http://127.0.0.1:1", ""):
            await database.run(nodes.beat, Node("a", "ws://a", base), frozenset(), NOW)
            with pytest.raises(NodeAway):
                await asking.send("a", ORDER)
        await asking.close()

    asyncio.run(main())


def test_only_nodes_of_this_service_are_believed(database: Database) -> None:
    here = neighbour(database, "a")
    body = peers.encode(Letter("a", ORDER))
    good = signature(KEY_OF_ALL, int(NOW), body)
    assert here.read(good, body) == ORDER
    for late in (peers.FRESH_S, -peers.FRESH_S):
        assert neighbour(database, "a", NOW + late).read(good, body) == ORDER
    refused = [
        (here, "", body),
        (here, good, body + b" "),
        (here, good.replace("t=18", "t=17"), body),
        (here, good[:-1], body),
        (here, good.upper(), body),
        (neighbour(database, "a", secret=b"another"), good, body),
        (neighbour(database, "a", NOW + peers.FRESH_S + 1), good, body),
        (neighbour(database, "a", NOW - peers.FRESH_S - 1), good, body),
    ]
    for node, shown, told in refused:
        with pytest.raises(PeerFault) as caught:
            node.read(shown, told)
        assert caught.value.fault is Fault.INVALID_API_KEY
    with pytest.raises(PeerFault, match="for node a, and this is b"):
        neighbour(database, "b").read(good, body)


@given(shown=st.one_of(st.text(), st.from_regex(r"t=[0-9٠-٩]{0,14},v1=[0-9a-f]*")), body=st.binary(max_size=99))
def test_nothing_else_is_an_order(shown: str, body: bytes) -> None:
    with pytest.raises(PeerFault):
        Neighbours(None, "a", b"s", lambda: NOW).read(shown, body)  # type: ignore[arg-type]  # it asks nobody


def test_what_a_node_of_another_version_may_send(database: Database) -> None:
    here = neighbour(database, "a")
    for body in (
        b"{}",
        b"[]",
        b'{"node":"a","order":{"verb":"sing","session_id":"s","organization_id":null}}',
        b"\xff",
    ):
        with pytest.raises(PeerFault) as caught:
            here.read(signature(KEY_OF_ALL, int(NOW), body), body)
        assert caught.value.fault is Fault.INVALID_REQUEST


# ---- two processes -------------------------------------------------------------------------------------


class Gateway:
    """A node's gateway, as its session service knows it: an admin address that takes orders to dial."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.refusal: PeerFault | None = None

    async def dial(self, body: bytes) -> Answer:
        order = msgspec.json.decode(body)
        self.orders.append(order)
        if self.refusal is not None:
            return as_json(self.refusal.told(), 502)
        call = {"id": f"call_{len(self.orders)}", "object": "call", "session_id": order["session_id"]}
        told = {"status": "ringing", "direction": "outbound", "sip_call_id": "x", "speaker": "agent"}
        return as_json(call | told | {"to": order["to"]}, 202)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        admin = Admin({}, {"/dial": self.dial}, KEY)
        host, port = await admin.start("127.0.0.1", 0)
        try:
            yield f"{host}:{port}"
        finally:
            await admin.close()


async def _start(url: str, folder: Path, gateway: str, node: str) -> ServiceProcess:
    return await asyncio.to_thread(ServiceProcess, url, folder, gateway=gateway, node=node)


@asynccontextmanager
async def _two_nodes(url: str, folder: Path) -> AsyncIterator[tuple[ServiceProcess, ServiceProcess, Gateway, Gateway]]:
    at_a, at_b = Gateway(), Gateway()
    async with at_a.listening() as one, at_b.listening() as other:
        running = [await _start(url, folder, one, "a"), await _start(url, folder, other, "b")]
        try:
            yield running[0], running[1], at_a, at_b
        finally:
            for service in running:
                if service.process.poll() is None:
                    await asyncio.to_thread(service.kill)


def test_any_of_two_processes_carries_out_what_the_other_holds(
    postgresql_server: postgresql.Server, tmp_path: Path
) -> None:
    url = postgresql_server.new_database()
    database = Database(url)
    database.upgrade()
    database.call(keys.ensure_organization, 1.0)
    database.call(keys.ensure_organization, 1.0, "org_other")
    key, _ = database.call(keys.create, 1.0, name="test")
    stranger, _ = database.call(keys.create, 1.0, name="test", organization_id="org_other")
    database.close()

    async def main() -> None:
        async with (
            _two_nodes(url, tmp_path) as (a, b, at_a, at_b),
            httpx.AsyncClient(base_url=a.rest, headers={"Authorization": f"Bearer {key}"}, timeout=30) as via_a,
            httpx.AsyncClient(base_url=b.rest, headers={"Authorization": f"Bearer {key}"}, timeout=30) as via_b,
        ):
            made = (await via_a.post("/v1/sessions", json={"mode": "help_chat_voice"})).json()
            path = f"/v1/sessions/{made['id']}"
            again = {"Idempotency-Key": "once"}
            first = await via_b.post(f"{path}/dial", json={"to": "200"}, headers=again)
            assert (first.status_code, first.json()["id"]) == (202, "call_1"), first.text
            assert first.headers["X-API-Credits-Used"] == "1"
            for via in (via_b, via_a):
                replayed = await via.post(f"{path}/dial", json={"to": "200"}, headers=again)
                assert replayed.json() == first.json()
                assert replayed.headers["Idempotent-Replayed"] == "true"
                other = await via.post(f"{path}/dial", json={"to": "201"}, headers=again)
                assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_mismatch")
            assert (at_a.orders, at_b.orders) == ([{"session_id": made["id"], "to": "200"}], [])

            at_a.refusal = PeerFault(Fault.DIAL_FAILED, "486 Busy Here")
            busy = await via_b.post(f"{path}/dial", json={"to": "200"})
            assert (busy.status_code, busy.json()["error"]["message"]) == (502, "486 Busy Here")
            assert busy.json()["error"]["request_id"] == busy.headers["X-Request-ID"]
            at_a.refusal = None

            foreign = {"Authorization": f"Bearer {stranger}"}
            assert (await via_b.post(f"{path}/dial", json={"to": "200"}, headers=foreign)).status_code == 404
            forged = {peers.HEADER: f"t={int(NOW)},v1={'0' * 64}"}
            for headers in ({}, forged):
                letter = msgspec.to_builtins(Letter("a", ORDER))
                assert (await via_a.post(peers.PATH, json=letter, headers=headers)).status_code == 401

            shown = (await via_b.get(path)).json()  # a's stream, with a token of b
            transport, client = await ws_connect(
                StreamClient, f"{shown['stream']['url']}?token={shown['stream']['token']}"
            )
            assert isinstance(client, StreamClient)
            client.send({"type": "call.joined", "speaker": "agent", "call_id": "call_1"})
            await client.synced()
            asked = await via_b.post(f"{path}/calls/call_1/transfer", json={"to": "sip:300@pbx"})
            assert (asked.status_code, asked.json()["status"]) == (200, "transferring")
            assert (await client.receive("call.transfer"))["to"] == "sip:300@pbx"
            asked = await via_b.post(f"{path}/calls/call_1/hangup", json={"reason": "enough"})
            assert (asked.status_code, asked.json()["status"]) == (200, "ending")
            assert (await client.receive("call.hangup"))["reason"] == "enough"
            missing = await via_b.post(f"{path}/calls/call_7/hangup")
            assert (missing.status_code, missing.json()["error"]["param"]) == (404, "call_id")
            ended = await via_b.post(f"{path}/end", json={})
            assert (ended.status_code, ended.json()["status"]) == (200, "ended")
            assert await client.close_code() == 1000
            transport.disconnect()
            late = await via_b.post(f"{path}/dial", json={"to": "200"})
            assert (late.status_code, late.json()["error"]["code"]) == (409, "session_ended")

    asyncio.run(main())


def test_a_holder_that_is_gone_and_comes_back_or_leaves(postgresql_server: postgresql.Server, tmp_path: Path) -> None:
    url = postgresql_server.new_database()
    database = Database(url)
    database.upgrade()
    database.call(keys.ensure_organization, 1.0)
    key, _ = database.call(keys.create, 1.0, name="test")
    database.close()

    async def main() -> None:
        async with (
            _two_nodes(url, tmp_path) as (a, b, _, at_b),
            httpx.AsyncClient(base_url=b.rest, headers={"Authorization": f"Bearer {key}"}, timeout=30) as via_b,
        ):
            auth = {"Authorization": f"Bearer {key}"}
            made = await asyncio.to_thread(
                httpx.post, f"{a.rest}/v1/sessions", json={"mode": "help_chat_voice"}, headers=auth
            )
            path = f"/v1/sessions/{made.json()['id']}"
            await asyncio.to_thread(a.kill)
            gone = await via_b.post(f"{path}/dial", json={"to": "200"})
            assert (gone.status_code, gone.json()["error"]["code"]) == (503, "service_unavailable")
            assert "held by node a" in gone.json()["error"]["message"]
            assert gone.headers["Retry-After"] == "5"
            assert (await via_b.get(path)).status_code == 200  # what needs no holder is answered all the same

            at_new = Gateway()
            async with at_new.listening() as address:  # another port than before: the table says which
                back = await _start(url, tmp_path, address, "a")
                assert (await via_b.post(f"{path}/dial", json={"to": "200"})).status_code == 202
                assert len(at_new.orders) == 1
                assert await asyncio.to_thread(back.stop) == 0
            # It left in good order: b has its sessions with the next heartbeat.
            for _ in range(100):
                answer = await via_b.post(f"{path}/dial", json={"to": "200"})
                if answer.status_code != 503:
                    break
                await asyncio.sleep(0.2)
            assert (answer.status_code, len(at_b.orders)) == (202, 1)

    asyncio.run(main())
