"""Typed messages between processes: msgspec structs as MessagePack over a Unix SEQPACKET socket pair.

One datagram is one message, so nothing is framed and nothing can be half read. Sending never blocks:
what the kernel does not take at once waits in a bounded queue, in order; beyond the bound the message
is refused and counted, for a peer that is that far behind is dead or stopped.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, Final, Generic, TypeVar

import msgspec

Incoming = TypeVar("Incoming")

#: Messages that may wait for a slow peer.
QUEUE_BOUND: Final = 20_000
#: The largest datagram that is read; an SDP or a REFER is far below it.
MAX_MESSAGE: Final = 256 * 1024


class PeerGone(Exception):
    """The process at the other end has closed its side."""


class Channel(Generic[Incoming]):
    """One end of a channel. `incoming`: the union of structs that the peer may send."""

    def __init__(self, sock: socket.socket, incoming: Any) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(incoming)
        self._waiting: deque[bytes] = deque()
        self.refused = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def backlog(self) -> int:
        """Messages not yet taken by the kernel; while there are any, call `flush` when writable."""
        return len(self._waiting)

    def send(self, message: msgspec.Struct) -> bool:
        """Send or queue. False: the queue is full and the message was dropped. Raises PeerGone."""
        data = self._encoder.encode(message)
        if not self._waiting and self._push(data):
            return True
        if len(self._waiting) >= QUEUE_BOUND:
            self.refused += 1
            return False
        self._waiting.append(data)
        return True

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it. Raises PeerGone."""
        while self._waiting and self._push(self._waiting[0]):
            self._waiting.popleft()

    def receive(self, limit: int = 256) -> list[Incoming]:
        """All messages that are there, at most `limit`. Raises PeerGone once the peer has closed."""
        messages: list[Incoming] = []
        while len(messages) < limit:
            try:
                data = self._sock.recv(MAX_MESSAGE)
            except BlockingIOError:
                break
            except ConnectionError as error:
                raise PeerGone from error
            if not data:
                if messages:
                    break
                raise PeerGone
            messages.append(self._decoder.decode(data))
        return messages

    def close(self) -> None:
        self._sock.close()

    def _push(self, data: bytes) -> bool:
        try:
            self._sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise PeerGone from error
        return True


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of sockets for two ends of a channel, with room for a burst."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (a, b):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
    return a, b
