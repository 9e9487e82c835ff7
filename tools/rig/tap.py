"""A tap on the loopback interface: RTP packets and session stream messages with the kernel's time of each.

Owns one packet socket (which needs root) and the reading of what it saw: UDP, TCP in order, WebSocket frames
(RFC 6455). Everything is kept until the tap is closed, and read afterwards; it is made for one call of seconds.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_ETH_P_IP = 0x0800
_SO_TIMESTAMPNS = 35
_OUTGOING = 4  # PACKET_OUTGOING: on the loopback interface every packet is seen twice


@dataclass(frozen=True)
class Rtp:
    """at_ns: CLOCK_REALTIME of the kernel."""

    at_ns: int
    source: int
    target: int
    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Message:
    """A JSON message on a stream. from_gateway: it was sent by the WebSocket client."""

    at_ns: int
    from_gateway: bool
    content: dict[str, Any]


class Tap:
    """Use as a context manager around a call. Raises PermissionError without root."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(0.2)
        self._packets: list[tuple[int, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data, control, _, address = self._socket.recvmsg(70000, 128)
            except TimeoutError:
                continue
            if address[2] != _OUTGOING:
                seconds, nanos = struct.unpack("qq", control[0][2][:16])
                self._packets.append((seconds * 1_000_000_000 + nanos, data))

    def rtp(self, ports: Container[int]) -> list[Rtp]:
        """RTP to or from any of the ports, in order of arrival."""
        return list(rtp_of(self._packets, ports))

    def messages(self, port: int) -> list[Message]:
        """Messages of the streams served at a TCP port."""
        return messages_of(self._packets, port)


def rtp_of(packets: list[tuple[int, bytes]], ports: Container[int]) -> Iterator[Rtp]:
    for at_ns, data in packets:
        if len(data) < 28 or data[9] != socket.IPPROTO_UDP:
            continue
        head = (data[0] & 15) * 4
        source, target = struct.unpack_from("!HH", data, head)
        body = data[head + 8 :]
        if (source in ports or target in ports) and len(body) >= 12 and body[0] == 0x80 and body[1] & 0x7F in (0, 8):
            yield Rtp(at_ns, source, target, int.from_bytes(body[2:4], "big"), body[12:])


def messages_of(packets: list[tuple[int, bytes]], port: int) -> list[Message]:
    found: list[Message] = []
    ways: dict[tuple[int, int], _Way] = {}
    for at_ns, data in packets:
        if len(data) < 40 or data[9] != socket.IPPROTO_TCP:
            continue
        head = (data[0] & 15) * 4
        source, target, sequence = struct.unpack_from("!HHI", data, head)
        if port not in (source, target):
            continue
        total = int.from_bytes(data[2:4], "big") or len(data)
        body = data[head + (data[head + 12] >> 4) * 4 : total]
        way = ways.setdefault((source, target), _Way())
        for text in way.push(sequence, body):
            found.append(Message(at_ns, target == port, json.loads(text)))
    return found


class _Way:
    """One direction of a TCP connection that carries a WebSocket."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._bytes = bytearray()
        self._upgraded = False

    def push(self, sequence: int, body: bytes) -> Iterator[bytes]:
        """The text messages that these bytes complete. On loopback nothing is lost; what comes again is left out."""
        if not body:
            return
        if self._next is not None and (sequence - self._next) & 0xFFFFFFFF >= 1 << 31:
            return
        self._next = (sequence + len(body)) & 0xFFFFFFFF
        self._bytes += body
        if not self._upgraded:
            end = self._bytes.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._bytes[: end + 4]
            self._upgraded = True
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 1:
                yield payload

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._bytes
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        masked = bool(data[1] & 0x80)
        start = at + 4 * masked
        if len(data) < start + size:
            return None
        payload, mask = bytes(data[start : start + size]), bytes(data[at:start])
        opcode = data[0] & 15
        del data[: start + size]
        if masked and size:
            repeated = (mask * (size // 4 + 1))[:size]
            whole = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
            payload = whole.to_bytes(size, "big")
        return opcode, payload


def audio_of(message: Message) -> bytes:
    """The audio of an audio.input or audio.output."""
    return base64.b64decode(message.content["audio"]["payload"])
