"""A session service's stream that does as the test says, and a client at the other end of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import picows

from gateway.config import Reconnect
from gateway.config import Stream as StreamConfig
from gateway.errors import Fault, PeerFault
from gateway.stream import messages
from gateway.stream.client import Address, StreamClient, tls_context
from gateway.stream.connection import Over
from gateway.stream.protocol import Bad, Incoming, PlayAudio
from gateway.stream.pump import TEXT, Totals

READY = {"type": "session.ready", "session_id": "sess_1", "mode": "bidirectional_translation"}


class Peer(picows.WSListener):
    """One connection as the server has it. path: what was asked for, with the token."""

    def __init__(self, server: Server, path: bytes = b"") -> None:
        super().__init__()
        self.server = server
        self.path = path
        self.received: list[bytes] = []

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport
        self.server.peers.append(self)
        if self.server.greets:
            self.say(READY)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is picows.WSMsgType.CLOSE:
            self.server.closes.append(int.from_bytes(frame.get_payload_as_bytes()[:2], "big"))
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
        else:
            self.received.append(frame.get_payload_as_bytes())

    def say(self, message: object) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.transport.send(TEXT, data)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.received]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What came of one type."""
        return [message for message in self.messages if message["type"] == kind]


class Server:
    """A session service's stream that does as the test says. `status`: an HTTP refusal instead of a stream."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.paths: list[bytes] = []
        self.closes: list[int] = []
        self.greets = True
        self.status = 0
        self.port = 0

    def accept(self, request: picows.WSUpgradeRequest) -> Peer | picows.WSUpgradeResponseWithListener:
        self.paths.append(bytes(request.path))
        if self.status:
            response = picows.WSUpgradeResponse.create_error_response(self.status, b"no")
            return picows.WSUpgradeResponseWithListener(response, None)
        return Peer(self, bytes(request.path))

    @contextlib.asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Server]:
        server = await picows.ws_create_server(self.accept, "127.0.0.1", port, ssl=tls, enable_auto_pong=True)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for peer in self.peers:
                peer.transport.disconnect(False)


class Recorder:
    """The stream's owner and its meter: writes down what it is told."""

    def __init__(self) -> None:
        self.opened: list[bool] = []
        self.lost: list[int] = []
        self.over: list[Over] = []
        self.played: list[PlayAudio] = []
        self.said: list[Incoming] = []
        self.bad: list[Bad] = []
        self.counts: list[str] = []

    def stream_open(self, ready: messages.SessionReady, *, again: bool) -> None:
        self.opened.append(again)

    def stream_lost(self, rewind: int) -> None:
        self.lost.append(rewind)

    def stream_over(self, over: Over) -> None:
        self.over.append(over)

    def stream_play(self, message: PlayAudio) -> None:
        self.played.append(message)

    def stream_message(self, message: Incoming) -> None:
        self.said.append(message)

    def stream_bad(self, cause: Bad) -> None:
        self.bad.append(cause)

    def connected(self, result: str) -> None:
        self.counts.append(f"connect {result}")

    def reconnected(self, result: str) -> None:
        self.counts.append(f"reconnect {result}")

    def closed(self, reason: str) -> None:
        self.counts.append(f"close {reason}")


class Rig:
    """A client, its recorder and its server."""

    def __init__(self, server: Server, scheme: str = "ws", ca: Path | None = None, **config: Any) -> None:
        self.server = server
        self.record = Recorder()
        self.asked = 0
        self.refusal: Fault | None = None
        again = config.pop("reconnect", Reconnect(first_ms=10, max_ms=20, give_up_s=30))
        settings = {"ready_timeout_s": 5.0} | config
        self.client = StreamClient(
            self.record,
            self.address,
            StreamConfig(reconnect=again, **settings),
            tls_context(ca),
            Totals(),
            self.record,
            Random(1),
        )
        self.scheme = scheme
        self.host = "127.0.0.1"

    async def address(self) -> Address:
        self.asked += 1
        if self.refusal is not None:
            raise PeerFault(self.refusal, "no")
        return Address(f"{self.scheme}://{self.host}:{self.server.port}/v1/stream", f"kst_{self.asked}&x")

    async def open(self) -> Peer:
        self.client.start()
        await until(lambda: self.client.is_open)
        return self.server.peers[-1]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other people's hands
            await asyncio.sleep(0.002)


def coroutine(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test that is a coroutine."""

    def run() -> None:
        asyncio.run(story())  # type: ignore[arg-type]

    run.__name__, run.__doc__ = story.__name__, story.__doc__
    return run


def frame(n: int) -> bytes:
    return b'{"type":"audio.input","sequence":%d}' % n
