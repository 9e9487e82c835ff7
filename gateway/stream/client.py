"""The WebSocket of one session: connect, come back after a loss, send without blocking, read.

Owns the connection and what could not be sent meanwhile. Refuses to know legs, calls and where a stream's
address comes from: `address` is asked for a fresh one before every attempt, because a token lives five
minutes. Protocol rules are `protocol.py`'s; here they meet picows and the event loop.

Nothing here waits for a slow peer: beyond `send_queue_kb` of unsent bytes `sender` becomes None, and frames
go to the backlog, which drops the oldest, until the peer reads again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

import picows

from gateway.config import Stream as StreamConfig
from gateway.errors import Fault, GatewayError
from gateway.stream import messages
from gateway.stream.connection import Connection, Over, log
from gateway.stream.playout import Report
from gateway.stream.protocol import Backlog, Bad, Incoming, PlayAudio, Retry, encode
from gateway.stream.pump import TEXT, Sender, Totals

#: picows closes with 1009 beyond this; between it and `MAX_MESSAGE` a message is counted and left out.
MAX_FRAME: Final = 1024 * 1024


class Address(NamedTuple):
    """Where a session's stream is. The token is a secret: this has no useful repr."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Address({self.url!r}, token hidden)"

    def with_token(self) -> str:
        return f"{self.url}{'&' if '?' in self.url else '?'}token={quote(self.token, safe='')}"


class Owner(Protocol):
    """Who the stream works for. Called from the event loop; must not raise."""

    def stream_open(self, ready: messages.SessionReady, *, again: bool) -> None: ...
    def stream_lost(self, rewind: int) -> None: ...
    def stream_over(self, over: Over) -> None: ...
    def stream_play(self, message: PlayAudio) -> None: ...
    def stream_message(self, message: Incoming) -> None: ...
    def stream_bad(self, cause: Bad) -> None: ...


class Meter(Protocol):
    """Counts what is rare enough to be counted when it happens; labels as in `ops/labels.py`."""

    def connected(self, result: str) -> None: ...
    def reconnected(self, result: str) -> None: ...
    def closed(self, reason: str) -> None: ...


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """For wss: certificate and host name are verified, against `ca_file` or the system's store."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class StreamClient:
    """One session's stream. `start` it once; it reconnects by itself until `stop` or `Owner.stream_over`."""

    def __init__(
        self,
        owner: Owner,
        address: Callable[[], Awaitable[Address]],
        config: StreamConfig,
        tls: ssl.SSLContext,
        totals: Totals,
        meter: Meter,
        random: Random,
    ) -> None:
        self.sender: Sender | None = None
        self.is_open = False
        self.connection_play = owner.stream_play  # straight through: this is the hot path
        self._owner = owner
        self._address = address
        self._config = config
        self._tls = tls
        self._totals = totals
        self._meter = meter
        again = config.reconnect
        self._retry = Retry(again.first_ms / 1000, again.max_ms / 1000, again.give_up_s, random)
        self._keep_frames = again.keep_s * 1000 // config.frame_ms
        self._backlog = Backlog(self._keep_frames)
        self._connection: Connection | None = None
        self._opened_before = False
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def frames_dropped(self) -> int:
        return self._backlog.audio_dropped

    @property
    def queued_octets(self) -> int:
        """What the connection has taken and the peer has not."""
        connection = self._connection
        return 0 if connection is None else connection.queued_octets

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def speakers(self, count: int) -> None:
        """How many legs send on this stream: each has its own share of what is kept."""
        self._backlog.audio_limit = self._keep_frames * max(1, count)

    def keep(self, message: bytes) -> None:
        """An `audio.input` that can not be sent now. Before the first `session.ready` nothing is kept."""
        if self._opened_before:
            before = self._backlog.audio_dropped
            self._backlog.keep_audio(message)
            self._totals.frames_dropped += self._backlog.audio_dropped - before

    def report(self, report: Report) -> None:
        self.send(report)

    def send(self, message: messages.ClientMessage) -> None:
        """Any message but audio: now, or when the stream is back."""
        data = encode(message)
        if self.sender is not None:
            self.sender.send(TEXT, data)
        elif not self._stopped:
            self._backlog.keep_control(data)

    def check(self, now: float) -> None:
        """Call once a second: asks a silent peer, and cuts the connection to one that is not there."""
        if self._connection is not None:
            self._connection.check(now)

    def stop(self) -> None:
        """Close with 1000 and do not come back. `Owner` hears no more of it."""
        self._stopped = True
        self.sender = None
        self.is_open = False
        self._totals.frames_dropped += self._backlog.forget()
        if self._connection is not None:
            self._connection.close()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            over = await self._once()
            if self._stopped:
                return
            if over is None:
                delay = self._retry.delay(loop.time())
                if delay is not None:
                    await asyncio.sleep(delay)
                    continue
                self._meter.reconnected("given_up")
                over = Over(Fault.STREAM_REFUSED, "stream_lost", "the session stream is lost")
            self._stopped = True
            self._totals.frames_dropped += self._backlog.forget()
            self._owner.stream_over(over)

    async def _once(self) -> Over | None:
        """One connection from start to end. None: try again."""
        # It is ours from the start: it may be ready, and full, before `ws_connect` returns.
        connection = self._connection = Connection(self, self._config, self._totals)
        try:
            result, over = await self._connect(connection)
            self._meter.connected(result)
            if result != "ok":
                if self._opened_before:
                    self._meter.reconnected("failed")
                return over
            over = await connection.ended
        finally:
            self._connection = None
        if self._stopped:
            return None
        self._meter.closed(connection.why)
        return over

    async def _connect(self, connection: Connection) -> tuple[str, Over | None]:
        """Until `session.ready`. The result's label, "ok" or what went wrong, and whether that is final."""
        timeout = self._config.ready_timeout_s
        try:
            address = await self._address()
            async with asyncio.timeout(timeout):
                await picows.ws_connect(
                    lambda: connection,
                    address.with_token(),
                    ssl_context=self._tls,
                    websocket_handshake_timeout=timeout,
                    max_frame_size=MAX_FRAME,
                    max_redirects=0,
                    logger_name=log,
                )
                await connection.ready
        except GatewayError as error:
            final = error.fault in _FINAL
            return "refused", Over(error.fault, "session_ended", error.message) if final else None
        except picows.WSInvalidStatusError as error:
            status = 0 if error.response is None else int(error.response.status)
            return "refused", _refusal(status)
        except TimeoutError:
            connection.cut("error", 0)
            return ("timeout" if connection.transport is None else "not_ready"), None
        except ssl.SSLError:
            return "tls", None
        except OSError:
            if connection.ended.done():  # it was there, and closed before it was ready
                return "not_ready", connection.ended.result()
            return "unreachable", None
        except (picows.WSError, ValueError):  # ValueError: the service gave us a URL that is none
            return "failed", None
        finally:
            if self._stopped:
                connection.close()
        return "ok", None

    def connection_read(self, connection: Connection, message: Incoming | Bad) -> None:
        """From the connection: anything but `audio.output` and `session.ended`."""
        if self._stopped:
            return
        if isinstance(message, Bad):
            self._owner.stream_bad(message)
        elif not isinstance(message, messages.SessionReady):
            self._owner.stream_message(message)
        elif not connection.ready.done():
            self._ready(connection, message)
        # else: another `session.ready` on the same connection is no new session

    def connection_lost(self, connection: Connection) -> None:
        """From the connection, once: nothing more can be sent on it, though the end may still be on its way.

        What comes from here on is kept; what was sent a moment ago is taken again, for nobody may have read it.
        """
        if connection is not self._connection:
            return
        was_open, self.is_open, self.sender = self.is_open, False, None
        if was_open and not self._stopped and connection.final is None:
            self._retry.lost(asyncio.get_running_loop().time())
            self._owner.stream_lost(0 if len(self._backlog) else connection.rewind)

    def connection_writable(self, connection: Connection, writable: bool) -> None:
        """From the connection: its buffer ran full, or has drained."""
        if connection is not self._connection:
            return
        if writable:
            self._flush(connection)
        else:
            self.sender = None

    def _ready(self, connection: Connection, message: messages.SessionReady) -> None:
        connection.ready.set_result(None)
        again, self._opened_before = self._opened_before, True
        self.is_open = True
        if again:
            self._meter.reconnected("ok")
        self._retry.restored(asyncio.get_running_loop().time())
        self._owner.stream_open(message, again=again)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send what waits, in order, as long as the peer takes it; then frames go straight through."""
        transport = connection.transport
        while not connection.paused and transport is not None and (kept := self._backlog.take()):
            transport.send(TEXT, kept[0])
            self._totals.frames_replayed += kept[1]
        if self.is_open and not connection.paused and not self._stopped:
            self.sender = transport


#: Answers of the session directory, and of the stream's handshake, that no repetition will change.
_FINAL: Final = frozenset({Fault.SESSION_NOT_FOUND, Fault.SESSION_ENDED, Fault.NO_CREDITS, Fault.ORGANIZATION_INACTIVE})
_BY_STATUS: Final = {404: Fault.SESSION_NOT_FOUND, 409: Fault.SESSION_ENDED, 410: Fault.SESSION_ENDED}


def _refusal(status: int) -> Over | None:
    """What an HTTP status at the handshake means (contract §2). 401 is tried again with a fresh token."""
    fault = _BY_STATUS.get(status)
    return None if fault is None else Over(fault, "session_ended", f"the session stream answered {status}")
