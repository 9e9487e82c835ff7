"""The operator's door: a few routes on `admin.bind`, in the controller's own event loop.

Enough HTTP/1.1 for Prometheus, curl, a load balancer's probe and an order with a key, and no more: one request per
connection, bounds on size, time and number. GET is open to whoever reaches the address; POST needs the key, as
`Authorization: Bearer …`. Owns the wire; what a route says comes from its callback.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

MAX_HEAD: Final = 8192
MAX_BODY: Final = 65_536
MAX_CONNECTIONS: Final = 64
TIMEOUT_S: Final = 10.0
#: An order may wait for the other end of a call to ring.
ORDER_S: Final = 40.0
#: What is below this is told to this host only: it says who called whom, word for word.
PRIVATE: Final = "/calls/"

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Answer(NamedTuple):
    """What a route says."""

    status: int
    body: bytes
    content_type: str = "application/json"


Route = Callable[[], Awaitable[Answer]]
#: Of a path with a part that varies; gets that part.
Of = Callable[[str], Awaitable[Answer]]
#: Takes the body of a request that showed the key.
Post = Callable[[bytes], Awaitable[Answer]]


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n")


class Admin:
    """The server. routes, posts: path → what answers it. key: what a POST must show; "": nobody can.

    patterns: the same for paths with one part that varies, written `{}`.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        posts: Mapping[str, Post] | None = None,
        key: str = "",
        patterns: Mapping[str, Of] | None = None,
    ) -> None:
        self._routes = dict(routes)
        self._patterns = dict(patterns or {})
        self._posts = dict(posts or {})
        self._key = key.encode()
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
            async with asyncio.timeout(TIMEOUT_S) as limit:
                method, answer = await self._answer(reader, limit, _is_near(writer.get_extra_info("peername")))
                writer.write(_head(answer) + (b"" if method == "HEAD" else answer.body))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            self.refused += 1
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, limit: asyncio.Timeout, near: bool) -> tuple[str, Answer]:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return "", self._refuse(HTTPStatus.BAD_REQUEST)
        request, *lines = head.split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "", self._refuse(HTTPStatus.BAD_REQUEST)
        method, path = words[0], words[1].split("?", 1)[0]
        if method == "POST" and path in self._posts:
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return method, await self._order(path, fields, reader, limit)
        if method not in ("GET", "HEAD"):
            return method, self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        if path.startswith(PRIVATE) and not near:
            return method, self._refuse(HTTPStatus.FORBIDDEN)
        if route := self._routes.get(path):
            return method, await route()
        for pattern, of in self._patterns.items():
            before, after = pattern.split("{}")
            if path.startswith(before) and path.endswith(after) and len(path) > len(pattern) - 2:
                return method, await of(path[len(before) : len(path) - len(after)])
        return method, _problem(HTTPStatus.NOT_FOUND, sorted([*self._routes, *self._patterns]))

    async def _order(
        self, path: str, fields: Mapping[str, str], reader: asyncio.StreamReader, limit: asyncio.Timeout
    ) -> Answer:
        scheme, _, shown = fields.get("authorization", "").partition(" ")
        known = bool(self._key) and hmac.compare_digest(shown.strip().encode("latin-1", "replace"), self._key)
        if scheme.lower() != "bearer" or not known:
            return self._refuse(HTTPStatus.UNAUTHORIZED)
        length = fields.get("content-length", "")
        if not length.isdecimal() or not length.isascii() or int(length[:9]) > MAX_BODY:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        try:
            body = await reader.readexactly(int(length))
        except asyncio.IncompleteReadError:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        limit.reschedule(asyncio.get_running_loop().time() + ORDER_S)
        return await self._posts[path](body)

    def _refuse(self, status: HTTPStatus) -> Answer:
        self.refused += 1
        return _problem(status)


def _is_near(peer: tuple[str, int] | None) -> bool:
    """Whether a connection comes from this host."""
    if peer is None:
        return False
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


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
    if status == HTTPStatus.UNAUTHORIZED:
        lines.append("WWW-Authenticate: Bearer")
    return "\r\n".join([*lines, "", ""]).encode()
