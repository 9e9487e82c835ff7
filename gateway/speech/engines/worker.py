"""A long-lived process beside the one that serves streams: started, talked to, started again when it dies.

Owns the process and its channel. Both ends speak typed messages; the worker says `Ready` once it has loaded what it
needs, or exits with a line on its standard error. It ends when its end of the channel closes, so that nobody has to
look for it, and runs at a lower priority than what keeps time. Knows no engine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import msgspec
import structlog

from gateway.channel import MAX_MESSAGE, Channel, PeerGone

_log = structlog.get_logger(__name__)

#: Seconds before a worker that died is started again: the first time, and at most.
RESTART_S: Final = (0.2, 30.0)
#: Seconds that loading may take.
LOADING_S: Final = 60.0
#: What the kernel holds of messages that a worker has not read: some seconds of audio.
_BUFFER: Final = 128 * 1024


class Ready(msgspec.Struct, tag="ready"):
    """A worker's first message. about: what it found, for the engine."""

    about: dict[str, Any] = {}


class WorkerFailed(Exception):
    """It could not be started."""


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of sockets of which neither end holds much."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends


class Link:
    """This process's end of a channel, read by the event loop. heard: for each message; gone: once, at its end."""

    def __init__(
        self, sock: socket.socket, incoming: Any, heard: Callable[[Any], None], gone: Callable[[], None]
    ) -> None:
        self._channel: Channel[Any] = Channel(sock, incoming)
        self._loop = asyncio.get_running_loop()
        self._heard, self._gone = heard, gone
        self._fd = self._channel.fileno()
        self._writing = False
        self.open = True
        self._loop.add_reader(self._fd, self._readable)

    @property
    def backlog(self) -> int:
        """Messages that the other end does not take."""
        return self._channel.backlog

    def send(self, message: msgspec.Struct) -> None:
        """Send or queue; to a closed one nothing is sent."""
        if not self.open:
            return
        try:
            self._channel.send(message)
        except PeerGone:
            self._end()
            return
        if self._channel.backlog and not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def close(self) -> None:
        """Close without calling `gone`."""
        if self.open:
            self.open = False
            self._loop.remove_reader(self._fd)
            if self._writing:
                self._loop.remove_writer(self._fd)
            self._channel.close()

    def _readable(self) -> None:
        try:
            messages = self._channel.receive()
        except PeerGone:
            self._end()
            return
        for message in messages:
            if self.open:
                self._heard(message)

    def _writable(self) -> None:
        try:
            self._channel.flush()
        except PeerGone:
            self._end()
            return
        if not self._channel.backlog:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _end(self) -> None:
        if self.open:
            self.close()
            self._gone()


class Owner(Protocol):
    """Who uses a worker."""

    def heard(self, message: Any) -> None:
        """A message that is not `Ready`."""

    def gone(self) -> None:
        """The worker has died; it is started again."""


class Worker:
    """One worker process, run as `python -m module FD arguments…`. incoming: what it may say, `Ready` among it."""

    def __init__(self, module: str, incoming: Any, owner: Owner, *arguments: str) -> None:
        self.about: dict[str, Any] = {}
        self.restarts = 0
        self._module, self._incoming, self._owner, self._arguments = module, incoming, owner, arguments
        self._process: asyncio.subprocess.Process | None = None
        self._link: Link | None = None
        self._sock: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link | None:
        """To send by; None while there is no worker."""
        return self._link if self._link is not None and self._link.open and self._is_ready() else None

    @property
    def socket(self) -> socket.socket | None:
        """The same, for who has file descriptors to send."""
        return self._sock if self.link is not None else None

    async def start(self) -> None:
        """Start and wait until it is ready. Raises WorkerFailed; then there will be none."""
        try:
            await self._launch()
        except WorkerFailed:
            await self._reap()
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self._module}")

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._link is not None:
            self._link.close()
        await self._reap()

    def kill(self) -> None:
        """It is stuck: end it; its keeper starts it anew."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _launch(self) -> None:
        ours, theirs = pair()
        with theirs:
            command = [sys.executable, "-P", "-m", self._module, str(theirs.fileno()), *self._arguments]
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
            )
        self._sock = ours
        self._ready = asyncio.get_running_loop().create_future()
        self._link = Link(ours, self._incoming, self._on_message, self._on_gone)
        try:
            async with asyncio.timeout(LOADING_S):
                await self._ready
        except TimeoutError:
            self._link.close()
            raise WorkerFailed(f"{self._module} did not get ready in {LOADING_S:.0f} s") from None

    async def _keep(self) -> None:
        wait_s = RESTART_S[0]
        while True:
            assert self._process is not None
            code = await self._process.wait()
            self._on_gone()
            _log.error("worker_died", module=self._module, code=code, restart_in_s=wait_s)
            await asyncio.sleep(wait_s)
            self.restarts += 1
            try:
                await self._launch()
                wait_s = RESTART_S[0]
            except WorkerFailed as error:
                await self._reap()
                wait_s = min(2 * wait_s, RESTART_S[1])
                _log.error("worker_not_started", module=self._module, error=str(error))

    async def _reap(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    def _is_ready(self) -> bool:
        return self._ready is not None and self._ready.done() and not self._ready.exception()

    def _on_message(self, message: Any) -> None:
        if isinstance(message, Ready):
            self.about = message.about
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        else:
            self._owner.heard(message)

    def _on_gone(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(WorkerFailed(f"{self._module} ended before it was ready"))
            return
        if self._link is not None:
            self._link.close()
            self._link = None
            self._owner.gone()


# ---- the worker's side ---------------------------------------------------------------------------------


def enter(argument: str) -> socket.socket:
    """At a worker's start: its end of the channel, blocking. Signals meant for the daemon are not its business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    return socket.socket(fileno=int(argument))


def messages(sock: socket.socket, incoming: Any) -> Iterator[Any]:
    """What comes, until the other end has closed."""
    decoder = msgspec.msgpack.Decoder(incoming)
    while True:
        try:
            data = sock.recv(MAX_MESSAGE)
        except ConnectionError:
            return
        if not data:
            return
        yield decoder.decode(data)


def say(sock: socket.socket, message: msgspec.Struct) -> bool:
    """Send one message. False: nobody listens any more."""
    try:
        sock.send(msgspec.msgpack.encode(message), socket.MSG_NOSIGNAL)
    except ConnectionError:
        return False
    return True
