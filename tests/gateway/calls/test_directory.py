"""The session directory: contract §1 as the gateway uses it, against a server that answers as the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.calls.directory import MAX_ANSWER, Directory, SessionInfo, of
from gateway.config import Config
from gateway.errors import Fault, GatewayError
from gateway.stream.client import Address

GOOD = {
    "id": "sess_1",
    "status": "created",
    "mode": "ai_agent",
    "stream": {"url": "ws://127.0.0.1:1/v1", "token": "kst_x", "expires_at": "2030-01-01T00:00:00Z"},
}


class Service:
    """Answers every request with one answer, and writes the requests down."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = json.dumps(GOOD).encode()
        self.headers = ""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while line := await reader.readline():
                headers: dict[str, str] = {}
                while (field := (await reader.readline()).decode().strip()) != "":
                    name, _, value = field.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((line.decode().rsplit(" ", 1)[0], headers, body))
                if self.silent:
                    continue
                head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\n{self.headers}\r\n"
                writer.write(head.encode() + self.body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def run(story: Callable[[Service, Directory], Awaitable[None]], timeout_s: float = 5.0) -> Service:
    service = Service()

    async def main() -> None:
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        directory = Directory(f"http://127.0.0.1:{port}/", "sk_test_1", timeout_s)
        try:
            await story(service, directory)
        finally:
            await directory.close()
            server.close()

    asyncio.run(main())
    return service


def fault_of(status: int, body: Any = None, headers: str = "") -> GatewayError:
    caught: list[GatewayError] = []

    async def story(service: Service, directory: Directory) -> None:
        service.status, service.headers = status, headers
        service.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        with pytest.raises(GatewayError) as refused:
            await directory.get("sess_1")
        caught.append(refused.value)

    run(story)
    return caught[0]


def envelope(code: str, message: str = "no") -> dict[str, Any]:
    return {"error": {"type": "x", "code": code, "message": message, "request_id": "req_1"}}


def test_get_brings_a_session_and_its_stream() -> None:
    async def story(service: Service, directory: Directory) -> None:
        info = await directory.get("sess_1")
        assert info == SessionInfo("sess_1", "ai_agent", Address("ws://127.0.0.1:1/v1", "kst_x"))
        assert "kst_x" not in repr(info)

    service = run(story)
    assert service.requests[0][0] == "GET /v1/sessions/sess_1"
    assert service.requests[0][1]["authorization"] == "Bearer sk_test_1"


def test_create_posts_the_body_under_a_key_of_its_own() -> None:
    async def story(service: Service, directory: Directory) -> None:
        service.status = 201
        await directory.create({"mode": "ai_agent"})
        await directory.create({"mode": "ai_agent"})

    service = run(story)
    assert [json.loads(body) for _, _, body in service.requests] == [{"mode": "ai_agent"}] * 2
    assert len({headers["idempotency-key"] for _, headers, _ in service.requests}) == 2


def test_end_says_why() -> None:
    async def story(service: Service, directory: Directory) -> None:
        await directory.end("sess_1", "peer_bye")

    service = run(story)
    assert service.requests[0][0] == "POST /v1/sessions/sess_1/end"
    assert json.loads(service.requests[0][2]) == {"reason": "peer_bye"}


def test_connections_are_kept() -> None:
    async def story(service: Service, directory: Directory) -> None:
        for _ in range(5):
            await directory.get("sess_1")

    assert run(story).connections == 1


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (404, envelope("session_not_found"), Fault.SESSION_NOT_FOUND),
        (404, b"<html>", Fault.SESSION_NOT_FOUND),
        (409, envelope("session_ended"), Fault.SESSION_ENDED),
        (410, envelope("gone"), Fault.SESSION_ENDED),
        (402, envelope("insufficient_api_credits"), Fault.NO_CREDITS),
        (403, envelope("organization_inactive"), Fault.ORGANIZATION_INACTIVE),
        (403, envelope("insufficient_permissions"), Fault.NO_PERMISSION),
        (401, envelope("revoked_api_key"), Fault.REVOKED_API_KEY),
        (401, b"", Fault.INVALID_API_KEY),
        (429, envelope("rate_limit_exceeded"), Fault.RATE_LIMITED),
        (422, envelope("engine_not_available"), Fault.ENGINE_NOT_AVAILABLE),
        (400, envelope("invalid_mode"), Fault.INVALID_MODE),
        (418, {}, Fault.INVALID_REQUEST),
        (500, {}, Fault.SERVICE_UNAVAILABLE),
        (502, b"bad gateway", Fault.SERVICE_UNAVAILABLE),
        (503, envelope("draining"), Fault.DRAINING),
        (503, envelope("session_ended"), Fault.SERVICE_UNAVAILABLE),  # a code that its status contradicts
        (404, {"error": "text"}, Fault.SESSION_NOT_FOUND),
        (302, {}, Fault.SERVICE_UNAVAILABLE),
    ],
)
def test_what_can_be_refused(status: int, body: Any, fault: Fault) -> None:
    assert fault_of(status, body).fault is fault


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("soon", None), ("9" * 9, None)])
def test_retry_after_is_handed_on(header: str, seconds: int | None) -> None:
    assert fault_of(429, {}, f"Retry-After: {header}\r\n").retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (GOOD | {"status": "ended"}, Fault.SESSION_ENDED),
        (GOOD | {"status": "ending"}, Fault.SESSION_ENDED),
        (GOOD | {"stream": None}, Fault.SERVICE_UNAVAILABLE),
        (GOOD | {"stream": {"url": "http://x", "token": "k"}}, Fault.SERVICE_UNAVAILABLE),
        (GOOD | {"id": 5}, Fault.SERVICE_UNAVAILABLE),
        ([], Fault.SERVICE_UNAVAILABLE),
        (b"not json", Fault.SERVICE_UNAVAILABLE),
        (b"\xff\xfe", Fault.SERVICE_UNAVAILABLE),
        (b"[" * 100_000, Fault.SERVICE_UNAVAILABLE),
        (b'"' + b"x" * MAX_ANSWER + b'"', Fault.SERVICE_UNAVAILABLE),
    ],
)
def test_answers_that_make_no_sense(body: Any, fault: Fault) -> None:
    assert fault_of(200, body).fault is fault


def test_a_service_that_is_silent() -> None:
    async def story(service: Service, directory: Directory) -> None:
        service.silent = True
        with pytest.raises(GatewayError) as refused:
            await directory.get("sess_1")
        assert refused.value.fault is Fault.SERVICE_UNAVAILABLE
        assert "kst" not in refused.value.message
        assert not await directory.reachable()

    run(story, timeout_s=0.05)


def test_a_service_that_is_not_there() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        directory = Directory(f"http://127.0.0.1:{port}", "sk", 1.0)
        with pytest.raises(GatewayError) as refused:
            await directory.get("sess_1")
        assert refused.value.fault is Fault.SERVICE_UNAVAILABLE
        assert not await directory.reachable()
        await directory.close()

    asyncio.run(main())


def test_anything_that_answers_is_reachable() -> None:
    async def story(service: Service, directory: Directory) -> None:
        service.status = 404
        assert await directory.reachable()

    run(story)


@pytest.mark.parametrize(
    ("sessions", "base", "key"),
    [
        ({"bind": "127.0.0.1:8099"}, "http://127.0.0.1:8099", "internal"),
        ({"mode": "remote", "url": "https://api.example", "api_key": "sk_live_9"}, "https://api.example", "sk_live_9"),
    ],
)
def test_one_back_end_for_both_modes(sessions: dict[str, str], base: str, key: str) -> None:
    async def main() -> None:
        directory = of(Config.model_validate({"sessions": sessions}), "internal")
        assert directory._rest.base == base
        assert ("Authorization", f"Bearer {key}") in directory._rest._headers
        await directory.close()

    asyncio.run(main())
