"""One WebSocket connection of a session stream: picows' callbacks made into messages and an end.

Owns the connection's bytes: fragments, the closing handshake, the kernel's view of a dead peer, and when it
can take more. Refuses to know what a message means, why it is opened and whether there will be another.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from typing import Final, NamedTuple, Protocol

import picows

from gateway.config import Stream as StreamConfig
from gateway.errors import Fault
from gateway.stream import messages
from gateway.stream.protocol import (
    MAX_MESSAGE,
    UNREADABLE,
    Assembler,
    Bad,
    Incoming,
    Liveness,
    PlayAudio,
    Verdict,
    decode,
    read,
)
from gateway.stream.pump import TEXT, Totals

#: How long a closing handshake may take before the connection is cut (RFC 6455 §7.1.1).
CLOSE_TIMEOUT_S: Final = 1.0
#: Frames taken again after a loss that was noticed at once, and after one that only a ping found.
REWIND: Final = 10
REWIND_HALF_OPEN: Final = 60

_DATA: Final = (picows.WSMsgType.CONTINUATION, picows.WSMsgType.TEXT, picows.WSMsgType.BINARY)
_TOO_BIG: Final = picows.WSCloseCode.MESSAGE_TOO_BIG

# picows says "connected" and "disconnected" of every stream at INFO; calls are logged where they are known.
log: Final = logging.getLogger("gateway.stream.picows")
log.setLevel(logging.ERROR)


class Over(NamedTuple):
    """The stream is over for good. reason: a value of `labels.END_REASONS`, detail for the `Reason` header."""

    fault: Fault | None
    reason: str
    detail: str


class Reader(Protocol):
    """Who reads the connection. `connection_play` is the hot one."""

    def connection_play(self, message: PlayAudio) -> None: ...
    def connection_read(self, connection: Connection, message: Incoming | Bad) -> None: ...
    def connection_writable(self, connection: Connection, writable: bool) -> None: ...
    def connection_lost(self, connection: Connection) -> None: ...


class Connection(picows.WSListener):
    """What picows calls. `ready` is the reader's to resolve; `ended` resolves to an `Over`, or to None when the
    stream may be opened again. `why` is then its `labels.STREAM_CLOSES`, `rewind` the frames to take again.
    """

    __slots__ = (
        *("ended", "final", "liveness", "paused", "ready", "rewind", "transport", "why"),
        *("_abandoned", "_assembler", "_config", "_octets", "_play", "_reader", "_totals", "_watch"),
    )

    def __init__(self, reader: Reader, config: StreamConfig, totals: Totals) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.transport: picows.WSTransport | None = None
        self.liveness: Liveness | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Over | None] = loop.create_future()
        self.paused = False
        self.why = "error"
        self.rewind = REWIND
        self._reader = reader
        self._play = reader.connection_play
        self._config = config
        self._totals = totals
        self._octets = 0  # received since the last `check`
        self._abandoned = False
        self._assembler = Assembler()
        self.final: Over | None = None

    @property
    def queued_octets(self) -> int:
        """Written and not yet taken by the kernel."""
        if self.transport is None or self.transport.is_disconnected:
            return 0
        return int(self.transport.underlying_transport.get_write_buffer_size())

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport
        # What picows thinks of a connection's end is a future that somebody has to look at.
        self._watch = asyncio.get_running_loop().create_task(transport.wait_disconnected())
        self._watch.add_done_callback(lambda task: task.cancelled() or task.exception())
        underlying = transport.underlying_transport
        underlying.set_write_buffer_limits(high=self._config.send_queue_kb * 1024)
        _tune(underlying.get_extra_info("socket"), self._config.pong_timeout_s)
        now = asyncio.get_running_loop().time()
        self.liveness = Liveness(self._config.ping_s, self._config.pong_timeout_s, now)
        if self._abandoned:
            self.close()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        data = frame.get_payload_as_bytes()
        self._octets += len(data)
        if frame.msg_type is not TEXT or not frame.fin:
            self._unusual(frame, data)
            return
        try:  # `decode`, without the call: fifty times a second for each stream
            message = read(data) if len(data) <= MAX_MESSAGE else Bad.TOO_LARGE
        except UNREADABLE:
            message = decode(data)
        if type(message) is PlayAudio:
            self._play(message)
        else:
            self._other(message)

    def _unusual(self, frame: picows.WSFrame, data: bytes) -> None:
        """Control frames and fragments."""
        if self.liveness is not None:
            self.liveness.heard = True  # a pong may be empty
        kind = frame.msg_type
        if kind is picows.WSMsgType.CLOSE:
            self._closed_by_peer(int.from_bytes(data[:2], "big"))
        elif kind in _DATA:
            first = kind is not picows.WSMsgType.CONTINUATION
            whole = self._assembler.add(data, first=first, text=kind is TEXT, final=frame.fin)
            if whole is not None:
                message = decode(whole) if isinstance(whole, bytes) else whole
                if isinstance(message, PlayAudio):
                    self._play(message)
                else:
                    self._other(message)

    def _other(self, message: Incoming | Bad) -> None:
        if isinstance(message, messages.SessionEnded):
            self.final = Over(Fault.SESSION_ENDED, "session_ended", message.reason)
            self.why = "session_ended"
            self.close()
            self._finish()
        else:
            self._reader.connection_read(self, message)

    def _closed_by_peer(self, code: int) -> None:
        handshake = None if self.transport is None else self.transport.close_handshake
        if handshake is not None and handshake.sent is not None:
            return  # an answer to ours, whatever it says
        # 1000 says that the purpose is fulfilled (RFC 6455 §7.4.1): a stream closed so is not opened again.
        if code == 1000 and self.final is None:
            self.final = Over(Fault.SESSION_ENDED, "session_ended", "the session stream was closed")
            self.why = "clean"
        elif code in (1001, 1012):
            self.why = "going_away"
        self.close()

    def pause_writing(self) -> None:
        self.paused = True
        if not self._abandoned:
            self._reader.connection_writable(self, False)

    def resume_writing(self) -> None:
        self.paused = False
        if not self._abandoned:
            self._reader.connection_writable(self, True)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        handshake = transport.close_handshake
        if handshake is not None and handshake.sent is not None and handshake.sent.code is _TOO_BIG:
            self.why = "too_large"
        self._finish()

    def check(self, now: float) -> None:
        """Call once a second: asks a silent peer, and cuts the connection to one that is not there."""
        if self.liveness is None or self.transport is None:
            return
        if self._octets:
            self._take_account()
            self.liveness.heard = True
        verdict = self.liveness.check(now)
        if verdict is Verdict.PING:
            self.transport.send_ping()
        elif verdict is Verdict.DEAD:
            self.cut("ping_timeout", REWIND_HALF_OPEN)

    def close(self) -> None:
        """Say goodbye; cut the connection if the peer takes its time over it."""
        self._abandon()
        transport = self.transport
        if transport is None or transport.is_disconnected:
            return
        if not transport.is_close_frame_sent:
            transport.send_close(picows.WSCloseCode.OK)
        loop = asyncio.get_running_loop()
        if transport.close_handshake is not None and transport.close_handshake.recv is not None:
            transport.disconnect()
        loop.call_later(CLOSE_TIMEOUT_S, transport.disconnect, False)

    def cut(self, why: str, rewind: int) -> None:
        """Nobody is there: no goodbye."""
        self.why, self.rewind = why, rewind
        if self.transport is not None:
            self.transport.disconnect(False)
        self._finish()

    def _take_account(self) -> None:
        self._totals.octets_received += self._octets
        self._octets = 0

    def _abandon(self) -> None:
        """picows drops in silence what is sent on a closing connection: nothing may be sent from here on."""
        if not self._abandoned:
            self._abandoned = True
            self._reader.connection_lost(self)

    def _finish(self) -> None:
        self._abandon()
        self._take_account()
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("closed before session.ready"))
            self.ready.exception()  # it may have no reader: then this is not a failure to be shouted about
        if not self.ended.done():
            self.ended.set_result(self.final)


def _tune(sock: socket.socket, dead_after_s: float) -> None:
    """Let the kernel find a dead peer while we send, and not hide seconds of stale audio in its own queue."""
    with contextlib.suppress(OSError, AttributeError):  # not every platform, not every kind of socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_after_s * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        if ipaddress.ip_address(sock.getpeername()[0]).is_loopback:
            # Nothing to be found out about the path, so nothing is paid for its model with each frame.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
