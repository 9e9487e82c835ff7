"""What the supervisor and the controller tell each other, over a SEQPACKET pair of their own.

The controller meets every other process here: a fresh one is announced by `Attach`, and the controller's
end of the channel to it travels along as a file descriptor (SCM_RIGHTS), the first time as after a crash.
In return the controller says of whom it hears, for it is the only one who does.
"""

from __future__ import annotations

import os
import socket
from typing import Final

import msgspec
from msgspec import Struct

from gateway.channel import PeerGone

#: The exit status of a process that would fail the same way again (sysexits: EX_CONFIG).
EXIT_HOPELESS: Final = 78
_MAX_MESSAGE: Final = 65536


class Attach(Struct, frozen=True, tag=True):
    """Supervisor: a process was started, for the `life`-th time. With a file descriptor for sip and rtp."""

    process: str
    pid: int
    life: int = 1


class Exited(Struct, frozen=True, tag=True):
    """Supervisor: a process is gone; reason in words. Unless the daemon stops, an `Attach` follows."""

    process: str
    reason: str


class Drain(Struct, frozen=True, tag=True):
    """Supervisor: take no new calls, end the present ones after `timeout_s`, then exit."""

    timeout_s: float


class Reloaded(Struct, frozen=True, tag=True):
    """Supervisor: the configuration file was read again. problems: why it was not taken.

    changed: keys that have another value from now on; needs_restart: keys that wait for one. With what is in force
    now as a file descriptor (`bootstrap.read`), unless there are problems.
    """

    problems: list[str]
    needs_restart: list[str]
    changed: list[str] = []


class Pulse(Struct, frozen=True, tag=True):
    """Controller: these processes were heard of within the last second; the controller itself is one."""

    processes: list[str]


class Status(Struct, frozen=True, tag=True):
    """Controller: whether calls are taken, and a line for `systemctl status`."""

    ready: bool
    text: str


FromSupervisor = Attach | Exited | Drain | Reloaded
FromController = Pulse | Status
_ANY: Final = FromSupervisor | FromController


class Lifeline:
    """One end. Nothing here blocks; a full or closed line raises PeerGone, for both ends read all the time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[FromSupervisor | FromController] = msgspec.msgpack.Decoder(_ANY)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: FromSupervisor | FromController, fd: int | None = None) -> None:
        """Send a message, and with it a file descriptor (the caller keeps and closes its own copy)."""
        try:
            socket.send_fds(
                self._sock, [self._encoder.encode(message)], [] if fd is None else [fd], socket.MSG_NOSIGNAL
            )
        except OSError as error:
            raise PeerGone from error

    def receive(self) -> tuple[FromSupervisor | FromController, int | None] | None:
        """The next message and its file descriptor (now the caller's), or None when there is no more."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _MAX_MESSAGE, 1)
        except BlockingIOError:
            return None
        except OSError as error:
            raise PeerGone from error
        if not data:
            raise PeerGone
        for fd in fds:
            os.set_inheritable(fd, False)
        return self._decoder.decode(data), fds[0] if fds else None

    def close(self) -> None:
        self._sock.close()
