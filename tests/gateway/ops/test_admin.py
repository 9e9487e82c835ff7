from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ops import admin
from gateway.ops.admin import METRICS_TYPE, Admin, Answer, as_json


async def _calls() -> Answer:
    return as_json([{"call_id": "call_1"}])


async def _metrics() -> Answer:
    return Answer(200, b"glotgate_x 1\n", METRICS_TYPE)


async def _unready() -> Answer:
    return as_json({"ready": False}, 503)


ROUTES = {"/calls": _calls, "/metrics": _metrics, "/readyz": _unready}


def _with_server(work: Callable[[Admin, str, int], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        server = Admin(ROUTES)
        host, port = await server.start("127.0.0.1", 0)
        try:
            await work(server, host, port)
        finally:
            await server.close()

    asyncio.run(main())


async def _raw(host: str, port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_routes_answer_to_a_real_client() -> None:
    async def work(server: Admin, host: str, port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            calls = await client.get("/calls?pretty=1")
            assert (calls.status_code, calls.json()) == (200, [{"call_id": "call_1"}])
            assert calls.headers["content-type"] == "application/json"
            metrics = await client.get("/metrics")
            assert metrics.text == "glotgate_x 1\n"
            assert metrics.headers["content-type"] == METRICS_TYPE
            assert (await client.get("/readyz")).status_code == 503
            head = await client.head("/calls")
            assert (head.content, int(head.headers["content-length"])) == (b"", len(calls.content))
            missing = await client.get("/nothing")
            assert (missing.status_code, missing.json()["routes"]) == (404, sorted(ROUTES))
            post = await client.post("/calls", content=b"x")
            assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")

    _with_server(work)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /calls\r\n\r\n",
        b"GET /calls HTTP/2\r\n\r\n",
        b"\xff\x00 / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_request_is_counted_and_refused(data: bytes) -> None:
    async def work(server: Admin, host: str, port: int) -> None:
        answer = await _raw(host, port, data)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert server.refused == 1
        assert (await _raw(host, port, b"GET /calls HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    _with_server(work)


def test_a_head_without_end_is_refused_at_the_bound() -> None:
    async def work(server: Admin, host: str, port: int) -> None:
        answer = await _raw(host, port, b"GET /calls HTTP/1.1\r\nX: " + b"a" * admin.MAX_HEAD)
        assert answer.startswith(b"HTTP/1.1 400 ")

    _with_server(work)


def test_connections_beyond_the_bound_and_silent_ones_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(admin, "TIMEOUT_S", 0.3)

    async def work(server: Admin, host: str, port: int) -> None:
        silent = [await asyncio.open_connection(host, port) for _ in range(2)]
        await asyncio.sleep(0)
        assert await _raw(host, port, b"") == b""  # one too many
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
        assert server.refused == 3
        assert (await _raw(host, port, b"GET /calls HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    _with_server(work)


def test_an_answer_is_json_even_of_what_is_none() -> None:
    assert json.loads(as_json({"path": ValueError("x")}).body) == {"path": "x"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_answered_or_closed(requests: list[bytes]) -> None:
    async def work(server: Admin, host: str, port: int) -> None:
        for data in requests:
            assert (await _raw(host, port, data)).startswith(b"HTTP/1.1 ")

    _with_server(work)


async def _echo(body: bytes) -> Answer:
    return Answer(202, body)


def _with_orders(work: Callable[[httpx.AsyncClient, Admin], Coroutine[Any, Any, None]], key: str = "secret") -> None:
    async def main() -> None:
        server = Admin(ROUTES, {"/dial": _echo}, key)
        host, port = await server.start("127.0.0.1", 0)
        try:
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
                await work(client, server)
        finally:
            await server.close()

    asyncio.run(main())


def test_an_order_needs_the_key() -> None:
    async def work(client: httpx.AsyncClient, server: Admin) -> None:
        body = b"x" * 30_000
        taken = await client.post("/dial", content=body, headers={"Authorization": "Bearer secret"})
        assert (taken.status_code, taken.content) == (202, body)
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            refused = await client.post("/dial", content=body, headers=shown)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert server.refused == 3
        assert (await client.get("/dial")).status_code == 404

    _with_orders(work)


def test_without_a_key_nobody_can_order() -> None:
    async def work(client: httpx.AsyncClient, server: Admin) -> None:
        refused = await client.post("/dial", content=b"", headers={"Authorization": "Bearer"})
        assert refused.status_code == 401

    _with_orders(work, key="")


@pytest.mark.parametrize("length", ["", "x", "-1", str(admin.MAX_BODY + 1), "9" * 30, "²"])
def test_an_order_of_no_good_length_is_refused(length: str) -> None:
    async def work(client: httpx.AsyncClient, server: Admin) -> None:
        head = f"POST /dial HTTP/1.1\r\nAuthorization: Bearer secret\r\nContent-Length: {length}\r\n\r\n"
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        assert (await _raw(host, port, head.encode() + b"{}")).startswith(b"HTTP/1.1 400 ")

    _with_orders(work)


def test_an_order_that_ends_early_is_refused() -> None:
    async def work(client: httpx.AsyncClient, server: Admin) -> None:
        head = b"POST /dial HTTP/1.1\r\nAuthorization: Bearer secret\r\nContent-Length: 9\r\n\r\n{}"
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        assert (await _raw(host, port, head)).startswith(b"HTTP/1.1 400 ")

    _with_orders(work)


async def _of(part: str) -> Answer:
    return as_json({"call": part})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/calls/call_1/trace", 200),
        ("/calls/call_1/trace?x=1", 200),
        ("/calls//trace", 404),
        ("/calls/trace", 404),
        ("/calls/call_1", 404),
    ],
)
def test_a_path_may_have_a_part_that_varies(path: str, status: int) -> None:
    async def main() -> None:
        server = Admin(ROUTES, patterns={"/calls/{}/trace": _of})
        host, port = await server.start("127.0.0.1", 0)
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            answer = await client.get(path)
        await server.close()
        assert answer.status_code == status
        assert answer.json() == {"call": "call_1"} or "/calls/{}/trace" in answer.json()["routes"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("peer", "near"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("192.0.2.1", 1), False),
        (("fe80::1%eth0", 1), False),
        (("::ffff:192.0.2.1", 1), False),
        (None, False),
    ],
)
def test_who_comes_from_this_host(peer: tuple[str, int] | None, near: bool) -> None:
    assert admin._is_near(peer) is near


def test_what_calls_say_is_for_this_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_is_near", lambda peer: False)

    async def main() -> None:
        server = Admin(ROUTES, patterns={"/calls/{}/trace": _of})
        host, port = await server.start("127.0.0.1", 0)
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert (await client.get("/calls/call_1/trace")).status_code == 403
            assert (await client.get("/calls")).status_code == 200
        await server.close()

    asyncio.run(main())
