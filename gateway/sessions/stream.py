"""The stream's rim: WebSocket connections of the session stream, by picows.

Owns the handshake (contract §2: 401, 404, 409), frames, pings, silence, close codes and back-pressure.
What a message means is `live.py`'s; what waits for a slow reader is `outbox.py`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from gateway.errors import Fault, GatewayError, PeerFault
from gateway.sessions import store, tokens
from gateway.sessions.hub import Hub
from gateway.sessions.ids import ULID_PATTERN, new_id
from gateway.sessions.live import MAX_FAULTS, LiveSession
from gateway.sessions.outbox import Outbox
from gateway.stream import vendors
from gateway.stream.vendors import Dialect

_log = structlog.get_logger(__name__)

MAX_MESSAGE: Final = 64 * 1024
PING_S: Final = 20.0
SILENCE_S: Final = 60.0
#: How long a vendor has to send the token with its `start`, and how many may be at it.
TOKEN_S: Final = 5.0
MAX_UNADMITTED: Final = 100
#: How long a peer has to answer our close frame before the connection is cut.
_CLOSE_S: Final = 2.0
#: Messages of one stream in one second; replays after a reconnection come faster than real time.
RATE: Final = 4000
_PATH: Final = re.compile(f"/v1/sessions/(sess_{ULID_PATTERN})/stream")


class Stream(WSListener):
    """One connection; the `Peer` of a live session. dialect: it is a vendor's, whose token may come later."""

    def __init__(self, server: StreamServer, live: LiveSession, dialect: Dialect | None, admitted: bool) -> None:
        super().__init__()
        self.live = live
        self.faults = 0
        self.speakers: set[str] = set()
        self.heard_at = server.hub.clock()
        self.pinged_at = self.heard_at
        self._dialect = dialect
        self._admitted = admitted
        self._opened_at = self.heard_at
        self._server = server
        self._clock = server.hub.clock
        self._transport: WSTransport | None = None
        self._outbox = Outbox()
        self._paused = False
        self._closing = False
        self._fragments: bytearray | None = None
        self._spoken = False
        self._received = 0

    @property
    def is_admitted(self) -> bool:
        """Its token was good. Only a vendor's connection may be open without."""
        return self._admitted

    # ---- Peer --------------------------------------------------------------------------------------

    def send(self, message: bytes, *, audio: bool = False) -> None:
        if self._closing or self._transport is None:
            return
        if self._dialect is not None:
            translated = self._dialect.write(message)
            if translated is None:
                return
            message = translated
        if not self._paused and not self._outbox:
            self._transport.send(WSMsgType.TEXT, message)
            return
        dropped = self._outbox.dropped
        if not self._outbox.put(message, audio):
            self._server.counts["slow_reader"] += 1
            self._closing = True
            self._cut(self._transport)
        self._server.counts["audio_dropped"] += self._outbox.dropped - dropped

    def close(self, code: int, reason: str) -> None:
        if self._closing or self._transport is None:
            return
        self._closing = True
        transport = self._transport
        while (message := self._outbox.take()) is not None:
            transport.send(WSMsgType.TEXT, message)
        transport.send_close(WSCloseCode(code), reason.encode())
        asyncio.get_running_loop().call_later(_CLOSE_S, self._cut, transport)

    # ---- WSListener --------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._server.streams.add(self)
        if self._admitted:
            self.live.attach(self, self._clock())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._closing = True
        self._server.streams.discard(self)
        self.live.detach(self, self._clock())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = self._clock()
        self.heard_at = now
        kind = frame.msg_type
        if self._closing and kind != WSMsgType.CLOSE:
            return
        try:
            if kind == WSMsgType.TEXT and frame.fin and self._fragments is None:
                self._on_text(frame.get_payload_as_memoryview(), now)
            else:
                self._on_rare(transport, frame, now)
        except Exception:  # a bug of ours: this stream pays for it, its session and its neighbours go on
            _log.exception("stream_failed", session_id=self.live.id)
            self._server.counts["internal_error"] += 1
            self.close(1011, "internal error")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        transport = self._transport
        while not self._paused and transport is not None and (message := self._outbox.take()) is not None:
            transport.send(WSMsgType.TEXT, message)

    # ---- helpers -----------------------------------------------------------------------------------

    def _on_text(self, text: memoryview, now: float) -> None:
        """One whole message, however many frames it came in."""
        self._received += 1
        if self._received > RATE:
            self._too_fast()
        elif self._dialect is None and (self._spoken or not self._is_vendor(text)):
            self.live.receive(self, text, now)
        else:
            self._on_vendor(bytes(text), now)

    def _on_rare(self, transport: WSTransport, frame: WSFrame, now: float) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            if not self._closing:
                self._closing = True
                transport.send_close(frame.get_close_code(), b"")
            transport.disconnect()
        elif kind == WSMsgType.BINARY:
            self.close(1003, "the session stream is text")
        elif kind == WSMsgType.TEXT and self._fragments is None:
            self._fragments = bytearray(frame.get_payload_as_memoryview())
        elif kind == WSMsgType.CONTINUATION and self._fragments is not None:
            self._fragments += frame.get_payload_as_memoryview()
            if len(self._fragments) > MAX_MESSAGE:
                self.close(1009, "a message may have 64 KiB at most")
            elif frame.fin:
                whole, self._fragments = memoryview(self._fragments), None
                self._on_text(whole, now)
        elif kind != WSMsgType.PONG:
            # RFC 6455 §5.4: fragments of one message are not interleaved with another message.
            self.close(1002, "fragments out of order")

    def _is_vendor(self, first: memoryview) -> bool:
        """Whether the first message is a vendor's whose handshake did not show it."""
        self._spoken = True
        if vendors.speaks(first):
            self._dialect = Dialect()
        return self._dialect is not None

    def _on_vendor(self, text: bytes, now: float) -> None:
        dialect = self._dialect
        assert dialect is not None
        starting = not dialect.started
        try:
            message = dialect.read(text)
            if starting and dialect.started:
                if not self._admitted:
                    self._server.check_token(self.live, dialect.token)
                    self._admitted = True
                    self.live.attach(self, now)
                dialect.speaker = self.live.free_speaker(dialect.wanted_speaker)
                message = dialect.joined()
        except (GatewayError, ValueError) as error:
            # A vendor has no words for an error: counted, and closed when there is no going on.
            self._server.counts["vendor_refused"] += 1
            self.faults += 1
            if isinstance(error, GatewayError) or starting or self.faults > MAX_FAULTS:
                self.close(1008, str(error)[:100])
            return
        if message is not None and self._admitted:
            self.live.handle(self, message, now)

    def _too_fast(self) -> None:
        if self._received == RATE + 1:  # told once a second
            self._server.counts["rate_limited"] += 1
            self.live.warn(self, "rate_limit_exceeded", f"more than {RATE} messages a second; the surplus is dropped")

    def sweep(self, now: float) -> None:
        """Once a second: ping, and close a peer that is silent."""
        self._received = 0
        if self._closing or self._transport is None:
            return
        if not self._admitted and now - self._opened_at >= TOKEN_S:
            self.close(1008, "no token came")
            return
        if now - self.heard_at >= SILENCE_S:
            self._server.counts["silent"] += 1
            self.close(1011, "nothing was heard for 60 s")
        elif now - self.pinged_at >= PING_S:
            self.pinged_at = now
            self._transport.send_ping()

    @staticmethod
    def _cut(transport: WSTransport) -> None:
        if not transport.is_disconnected:
            transport.disconnect(graceful=False)


class StreamServer:
    """Accepts streams of the hub's sessions. `counts`: what was refused, dropped or cut, by cause."""

    def __init__(self, hub: Hub, secret: bytes) -> None:
        self.hub = hub
        self.streams: set[Stream] = set()
        self.counts: Counter[str] = Counter()
        self._secret = secret
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen. Returns the address, which matters when port is 0."""
        self._server = await ws_create_server(
            self.admit,
            host,
            port,
            max_frame_size=MAX_MESSAGE,
            websocket_handshake_timeout=10,
            enable_auto_ping=False,
            enable_auto_pong=True,
            disconnect_on_exception=True,
            read_buffer_init_size=4096,
            backlog=1024,
        )
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def run(self) -> None:
        """Sweep once a second until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            now = self.hub.clock()
            for stream in tuple(self.streams):
                stream.sweep(now)

    async def close(self) -> None:
        """Accept no more, and wait until the closed streams are gone."""
        if self._server is not None:
            self._server.close()
            for _ in range(int(_CLOSE_S * 20) + 4):
                if not self.streams:
                    break
                await asyncio.sleep(0.05)

    def admit(self, request: WSUpgradeRequest) -> Stream | WSUpgradeResponseWithListener:
        """The handshake: a stream, or the refusal as the REST API would say it."""
        try:
            return self._find(request)
        except GatewayError as error:
            self.counts[error.fault.label] += 1
            return _refusal(error, new_id("req", self.hub.clock()))
        except Exception:  # picows would show the exception's text to the peer
            _log.exception("handshake_failed")
            self.counts["internal_error"] += 1
            return _refusal(GatewayError(Fault.INTERNAL, "the handshake failed here"), new_id("req", self.hub.clock()))

    def check_token(self, live: LiveSession, token: str) -> None:
        """Raises PeerFault when the token is no good, or the session over."""
        tokens.check(self._secret, live.id, token, self.hub.clock())
        if live.has_ended:
            raise PeerFault(Fault.SESSION_ENDED, f"session {live.id} has ended")

    def _find(self, request: WSUpgradeRequest) -> Stream:
        target = urlsplit(request.path.decode("latin-1"))
        match = _PATH.fullmatch(target.path)
        if match is None:
            raise PeerFault(Fault.SESSION_NOT_FOUND, "this is no stream of a session")
        session_id = match[1]
        live = self.hub.sessions.get(session_id)
        # Rare, and one indexed read that waits for no writer: a session that is not live here.
        if live is None and self.hub.database.peek(store.session_status, session_id) is None:
            raise PeerFault(Fault.SESSION_NOT_FOUND, f"there is no session {session_id}")
        token = parse_qs(target.query).get("token", [""])[0]
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if not token and scheme.lower() == "bearer":
            token = bearer.strip()
        vendor = vendors.is_vendor(request.headers)
        if live is not None and vendor and not token and self._unadmitted() < MAX_UNADMITTED:
            return Stream(self, live, Dialect(), admitted=False)
        tokens.check(self._secret, session_id, token, self.hub.clock())
        if live is None or live.has_ended:
            raise PeerFault(Fault.SESSION_ENDED, f"session {session_id} has ended")
        return Stream(self, live, Dialect() if vendor else None, admitted=True)

    def _unadmitted(self) -> int:
        return sum(not stream.is_admitted for stream in self.streams)


def _refusal(error: GatewayError, request_id: str) -> WSUpgradeResponseWithListener:
    outcome = error.fault.value
    body = {
        "error": {
            "type": outcome.type,
            "code": outcome.code,
            "message": error.message,
            "request_id": request_id,
        }
    }
    headers = {"Content-Type": "application/json", "X-Request-ID": request_id}
    return WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_error_response(outcome.http, msgspec.json.encode(body), headers), None
    )
