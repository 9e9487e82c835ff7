"""The embedded session service inside a test: real storage, real sockets, a clock that the test moves.

async with service(url) as kit:
    created = await kit.post("/v1/sessions", {"mode": "help_chat_voice"})
    async with kit.stream(created.json()) as stream: ...
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gateway.errors import GatewayError
from gateway.sessions import keys, store
from gateway.sessions.api import create_app
from gateway.sessions.chronicle import Teller
from gateway.sessions.database import Database
from gateway.sessions.egress import Guard
from gateway.sessions.hub import Hub
from gateway.sessions.lifecycle import Limits
from gateway.sessions.nodes import Membership
from gateway.sessions.orders import Orders
from gateway.sessions.peers import Neighbours
from gateway.sessions.service import Service
from gateway.sessions.stream import StreamServer
from gateway.sessions.studio import Studio
from gateway.speech.interpreter import Interpreter, Sink
from gateway.speech.loopback import Loopback

INTERNAL_KEY = "internal-key-of-the-test"
#: How long a test waits for what must come, in seconds; nothing depends on its length.
PATIENCE = 10.0


class Clock:
    """Unix seconds that only a test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class StreamClient(WSListener):
    """A stream's far end: what it received, decoded, and how it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.pings = 0
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.messages.put_nowait(msgspec.json.decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.PING:
            self.pings += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            if not self.closed.done():
                self.closed.set_result((int(frame.get_close_code()), frame.get_close_reason() or ""))
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.closed.done():
            self.closed.set_result((1006, ""))

    def send(self, message: dict[str, Any]) -> None:
        self.send_text(msgspec.json.encode(message))

    def send_text(self, text: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, text)

    def send_audio(self, speaker: str, sequence: int, mulaw: bytes, timestamp_ms: int | None = None) -> None:
        self.send(audio_input(speaker, sequence, mulaw, timestamp_ms))

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, or the next of this type."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.messages.get()
                if kind is None or message["type"] == kind:
                    return message

    async def close_code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return (await asyncio.shield(self.closed))[0]

    async def synced(self) -> None:
        """Everything sent so far has been dealt with."""
        self.send({"type": "ping"})
        await self.receive("pong")


def audio_input(speaker: str, sequence: int, mulaw: bytes, timestamp_ms: int | None = None) -> dict[str, Any]:
    return {
        "type": "audio.input",
        "sequence": sequence,
        "timestamp_ms": sequence * 20 if timestamp_ms is None else timestamp_ms,
        "speaker": speaker,
        "audio": {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": base64.b64encode(mulaw).decode()},
    }


class Kit:
    """One running service and an API client with a key of the default organization."""

    def __init__(
        self,
        service: Service,
        members: Membership,
        neighbours: Neighbours,
        streams: StreamServer,
        clock: Clock,
        key: str,
        data_dir: Path,
    ) -> None:
        self.service = service
        self.members = members
        self.neighbours = neighbours
        self.hub = service.hub
        self.database = service.database
        self.streams = streams
        self.clock = clock
        self.key = key
        self.app = create_app(service, neighbours, data_dir)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url="http://service",
            headers={"Authorization": f"Bearer {key}"},
        )

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers=named)

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    switchboard: Switchboard

    async def create(self, **fields: Any) -> dict[str, Any]:
        response = await self.post("/v1/sessions", {"mode": "bidirectional_translation"} | fields)
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    @asynccontextmanager
    async def stream(self, session: dict[str, Any], token: str | None = None) -> AsyncIterator[StreamClient]:
        url = f"{session['stream']['url']}?token={token or session['stream']['token']}"
        _, client = await ws_connect(StreamClient, url, enable_auto_pong=False)
        assert isinstance(client, StreamClient)
        try:
            yield client
        finally:
            client.transport.disconnect()
            await asyncio.wait_for(asyncio.shield(client.closed), PATIENCE)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that the service does in its own time."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0.005)

    async def settled(self) -> None:
        """Wait until everything that happened is stored."""
        await self.until(lambda: not self.hub.journal.backlog)

    def add_key(self, organization_id: str, **key: Any) -> str:
        """A key of an organization, which is made when it is new. `organization`: its fields."""
        organization = key.pop("organization", {})
        now = self.clock()
        self.database.call(keys.ensure_organization, now, organization_id, **organization)
        made, _ = self.database.call(keys.create, now, name="test", organization_id=organization_id, **key)
        return made


class Switchboard:
    """A gateway that places calls, or refuses as `refusal` says."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.refusal: GatewayError | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def dial(self, order: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(order)
        await self.hold.wait()
        if self.refusal is not None:
            raise self.refusal
        return {
            "id": f"call_{len(self.orders)}",
            "object": "call",
            "session_id": order["session_id"],
            "status": "ringing",
            "direction": "outbound",
            "sip_call_id": "abc@gateway",
            "speaker": order.get("speaker", "customer"),
            "to": order["to"],
        }


@asynccontextmanager
async def service(
    url: str,
    clock: Clock | None = None,
    limits: Limits | None = None,
    interpreter: Callable[[Any, Sink], Interpreter] = lambda _session, sink: Loopback(sink),
    data_dir: Path | None = None,
    webhook_url: str | None = None,
    node: str = "main",
) -> AsyncIterator[Kit]:
    """Run the service on this database until the block ends."""
    clock = clock or Clock()
    database = Database(url)
    database.upgrade()
    database.call(keys.ensure_organization, clock(), rate_limit=1_000_000)
    key, _ = database.call(keys.create, clock(), name="test")
    folder = tempfile.TemporaryDirectory()
    studio = Studio(data_dir or Path(folder.name), clock)
    teller = Teller(node, webhook_url)
    hub = Hub(database, teller, limits or Limits(), interpreter, studio, clock)
    secret = database.call(store.token_secret)
    streams = StreamServer(hub, secret)
    journal = asyncio.create_task(hub.journal.run())
    await hub.resume()
    host, port = await streams.start("127.0.0.1", 0)
    members = Membership(hub, f"ws://{host}:{port}", "")
    await members.step()
    switchboard, guard = Switchboard(), Guard(["127.0.0.0/8"])
    neighbours = Neighbours(database, node, secret, clock)
    orders = Orders(hub, switchboard, neighbours)
    made = Service(hub, members, guard, orders, token_secret=secret, internal_key=INTERNAL_KEY)
    kit = Kit(made, members, neighbours, streams, clock, key, data_dir or Path(folder.name))
    kit.switchboard = switchboard
    try:
        yield kit
    finally:
        await kit.http.aclose()
        await neighbours.close()
        await hub.close()
        await streams.close()
        await journal
        database.close()
        folder.cleanup()


def run(url: str, scenario: Callable[[Kit], Awaitable[None]]) -> None:
    """What happens with a service of its own on that database."""

    async def main() -> None:
        async with service(url) as kit:
            await scenario(kit)

    asyncio.run(main())
