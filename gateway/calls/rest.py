"""HTTP/1.1 as the session directory needs it: small exchanges with one server over a few connections that are kept.

A general client spends 1 ms of CPU on each of them, a third of what a call's set-up costs the controller; this one a
fifth of it, by doing no more than this: no redirects, no proxies, no cookies, no compression. What is on the wire is
h11's to read. Owns the connections and their bounds (number, time, size of an answer). Refuses to know what is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import h11

CONNECT_TIMEOUT_S: Final = 2.0
Headers = Sequence[tuple[str, str]]


class Unreachable(Exception):
    """There was no answer; the message is in words that may be told: it names no secret."""


class TooLong(Exception):
    """The answer is longer than any that makes sense."""


class Answer(NamedTuple):
    """headers: names in lower case; the last of a name counts."""

    status: int
    headers: dict[str, str]
    body: bytes


class Rest:
    """base: `http://host:port/prefix` or https. headers: of every request. timeout_s: of a whole exchange.

    most: connections at once; who comes beyond that waits. longest: octets of an answer. tls: for https.
    """

    def __init__(
        self, base: str, headers: Headers, timeout_s: float, most: int, longest: int, tls: ssl.SSLContext | None = None
    ) -> None:
        where = urlsplit(base)
        if where.scheme not in ("http", "https") or where.hostname is None:
            raise ValueError(f"no address of a service: {where.scheme}://{where.netloc}")
        secure = where.scheme == "https"
        self.base = f"{where.scheme}://{where.netloc}{where.path.rstrip('/')}"
        self._host, self._port = where.hostname, where.port or (443 if secure else 80)
        self._prefix = where.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._headers = [("Host", where.netloc.rpartition("@")[2]), ("User-Agent", "glotgate"), *headers]
        self._timeout_s = timeout_s
        self._longest = longest
        self._places = asyncio.Semaphore(most)
        self._idle: list[_Connection] = []

    async def request(self, method: str, path: str, body: bytes | None = None, headers: Headers = ()) -> Answer:
        """Raises Unreachable and TooLong. A kept connection that turns out to be closed is no failure."""
        fields = [*self._headers, *headers]
        if body is not None:
            fields += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        request = h11.Request(method=method, target=self._prefix + path, headers=fields)
        try:
            async with asyncio.timeout(self._timeout_s), self._places:
                while (kept := self._kept()) is not None:
                    try:
                        return await self._exchange(kept, request, body)
                    except ConnectionError:
                        if kept.heard:
                            raise
                return await self._exchange(await self._connect(), request, body)
        except (OSError, h11.ProtocolError) as error:  # refused, reset, timed out, bad TLS, no HTTP
            raise Unreachable(type(error).__name__) from None

    async def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, self._longest), self._host, self._port, ssl=self._tls
            )
        return connection

    async def _exchange(self, connection: _Connection, request: h11.Request, body: bytes | None) -> Answer:
        try:
            answer = await connection.exchange(request, body)
        except BaseException:  # cancelled, too: an answer to nobody would be the next one's
            connection.close()
            raise
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer


class _Connection(asyncio.Protocol):
    """heard: something of the present answer. usable: another exchange may begin."""

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: int) -> None:
        self.heard = False
        self._loop = loop
        self._longest = longest
        self._wire = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()

    @property
    def usable(self) -> bool:
        return self._transport is not None and self._wire.our_state is h11.IDLE

    async def exchange(self, request: h11.Request, body: bytes | None) -> Answer:
        """Raises ConnectionError, h11.ProtocolError and TooLong."""
        if self._transport is None:
            raise ConnectionResetError
        self.heard, self._head = False, None
        self._body.clear()
        self._answer = self._loop.create_future()
        data = self._wire.send(request) or b""
        if body is not None:
            data += self._wire.send(h11.Data(data=body)) or b""
        self._transport.write(data + (self._wire.send(h11.EndOfMessage()) or b""))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._answer is None or self._answer.done():  # nobody asked
            self.close()
            return
        try:
            self._wire.receive_data(data)
            self._read()
        except (h11.ProtocolError, TooLong) as error:
            self._fail(error)

    def eof_received(self) -> None:
        if self.heard:
            self.data_received(b"")  # it ends an answer that has no length
        else:
            self._fail(ConnectionResetError())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionResetError())

    def _read(self) -> None:
        while True:
            event = self._wire.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._longest:
                    raise TooLong
            elif isinstance(event, h11.EndOfMessage):
                self._complete()
            elif isinstance(event, h11.ConnectionClosed):
                self._fail(ConnectionResetError())
                return

    def _complete(self) -> None:
        assert self._head is not None  # h11 tells it first
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._head.headers}
        answer = Answer(self._head.status_code, headers, bytes(self._body))
        behind, _ = self._wire.trailing_data  # more than was asked for must not become the next one's answer
        if self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE and not behind:
            self._wire.start_next_cycle()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
