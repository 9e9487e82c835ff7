"""The operator's door: a few GET routes on `admin.bind`, in the controller's own event loop.

Enough HTTP/1.1 for Prometheus, curl and a load balancer's probe, and no more: one request per connection, no
body, bounds on size, time and number. Owns the wire; what a route says comes from its callback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

MAX_HEAD: Final = 8192
MAX_CONNECTIONS: Final = 64
TIMEOUT_S: Final = 10.0

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Answer(NamedTuple):
    """What a route says."""

    status: int
    body: bytes
    content_type: str = "application/json"


Route = Callable[[], Awaitable[Answer]]


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n")


class Admin:
    """The server. routes: path → what answers it."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = dict(routes)
        self._server: asyncio.Server | None = None
        self._connections = 0
        self.refused = 0  #: requests that were no proper request, or one too many

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen. Returns the address, with the port that was found for port 0. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > MAX_CONNECTIONS:
                self.refused += 1
                return
            async with asyncio.timeout(TIMEOUT_S):
                method, answer = await self._answer(reader)
                writer.write(_head(answer) + (b"" if method == "HEAD" else answer.body))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            self.refused += 1
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, Answer]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.refused += 1
            return "", _problem(HTTPStatus.BAD_REQUEST)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self.refused += 1
            return "", _problem(HTTPStatus.BAD_REQUEST)
        if words[0] not in ("GET", "HEAD"):
            self.refused += 1
            return words[0], _problem(HTTPStatus.METHOD_NOT_ALLOWED)
        route = self._routes.get(words[1].split("?", 1)[0])
        return words[0], await route() if route else _problem(HTTPStatus.NOT_FOUND, sorted(self._routes))


def _problem(status: HTTPStatus, routes: list[str] | None = None) -> Answer:
    return as_json({"error": status.phrase} | ({"routes": routes} if routes else {}), status)


def _head(answer: Answer) -> bytes:
    status = HTTPStatus(answer.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode()
