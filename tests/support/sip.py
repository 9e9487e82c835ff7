"""The sip process as a child, its controller's end of the channel, and a SIP peer that writes its own messages."""

from __future__ import annotations

import itertools
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway import channel
from gateway.config import Config
from gateway.sip import events, headers

PATIENCE_S = 10.0
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
)
CHILD = """
import json, socket, sys
from gateway.config import Config
from gateway.sip import process
def log(line):
    print(json.dumps(line), file=sys.stderr, flush=True)
process.serve(socket.socket(fileno=int(sys.argv[1])), Config.model_validate_json(sys.argv[2]), log)
"""
T = TypeVar("T")


class Controller:
    """The controller's end: commands out, events in, in order."""

    def __init__(self, sock: socket.socket, child: subprocess.Popen[str]) -> None:
        self._channel: channel.Channel[events.AnyEvent] = channel.Channel(sock, events.AnyEvent)
        self.child = child
        self.seen: list[events.Event] = []
        self.counters: dict[str, int] = {}
        self.ready = self.expect(events.AgentReady)
        self.port = int(self.ready.listening[0].rpartition(":")[2])

    def send(self, command: events.Command) -> None:
        self._channel.send(command)

    def expect(self, kind: type[T], where: Callable[[T], bool] = lambda _: True) -> T:
        """The first event of that kind that has not been taken yet; what came before stays in `seen`."""
        end = time.monotonic() + PATIENCE_S
        while True:
            for event in self.seen:
                if isinstance(event, kind) and where(event):
                    self.seen.remove(event)
                    return event
            if time.monotonic() > end:
                others = [event for event in self.seen if not isinstance(event, events.AgentCounters)]
                raise AssertionError(f"no {kind.__name__} came; there were {others}")
            self.receive()

    def receive(self, timeout_s: float = 0.1) -> None:
        select.select([self._channel], [], [], timeout_s)
        for event in self._channel.receive():
            if isinstance(event, events.AgentCounters):
                self.counters = event.counters
            self.seen.append(event)

    def count(self, name: str, at_least: int = 1) -> int:
        """Wait until a counter has reached a value."""
        return self.expect(events.AgentCounters, lambda e: e.counters[name] >= at_least).counters[name]

    def close(self) -> None:
        self._channel.close()


@contextmanager
def sip_process(
    log: Path,
    capacity: int = 50,
    environment: dict[str, str] | None = None,
    trunks: list[dict[str, object]] | None = None,
    **sip: object,
) -> Iterator[Controller]:
    """A running sip process on loopback ports of the kernel's choice. log: where its log lines go."""
    settings = {
        "bind": [{"transport": "udp", "address": "127.0.0.1:0"}, {"transport": "tcp", "address": "127.0.0.1:0"}]
    }
    config = Config.model_validate({"sip": settings | sip, "media": {"capacity": capacity}, "trunks": trunks or []})
    ours, theirs = channel.pair()
    with log.open("w") as lines:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(theirs.fileno()), config.model_dump_json()],
            pass_fds=[theirs.fileno()],
            stderr=lines,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | (environment or {}),
        )
    theirs.close()
    controller = None
    try:
        controller = Controller(ours, child)
        yield controller
    finally:
        if controller:
            controller.close()
        try:
            child.wait(PATIENCE_S)
        finally:
            child.kill()


class Peer:
    """A user agent that sends exactly the bytes it is told, over UDP, TCP or (with a context) TLS."""

    numbers = itertools.count(1)

    def __init__(
        self, port: int, transport: str = "udp", host: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> None:
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.transport = transport
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        self.sock.bind((host if ":" in host else "127.0.0.1", 0))
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect((host, port))
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        shown = f"[{host}]" if ":" in host else "127.0.0.1"
        self.here = f"{shown}:{self.sock.getsockname()[1]}"
        self.there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.tag = f"{os.getpid()}x{next(Peer.numbers)}"
        self.call_id = f"{self.tag}@test"
        self.to_tag = ""
        self.cseq = 0
        self.branch = ""
        self._stream = b""

    def close(self) -> None:
        self.sock.close()

    def send(self, raw: str | bytes) -> None:
        self.sock.sendall(raw if isinstance(raw, bytes) else raw.encode())

    def request(
        self,
        method: str,
        body: str = "",
        extra: str = "",
        user: str = "sess_1",
        content_type: str = "application/sdp",
        same: bool = False,
    ) -> str:
        """The text of a request in this peer's dialog. same: of the last transaction (ACK, CANCEL)."""
        if not same and method != "ACK":
            self.cseq += 1
        if not same:
            self.branch = f"z9hG4bK{self.tag}{method}{self.cseq}"
        kind = f"Content-Type: {content_type}\r\n" if body and content_type else ""
        to_tag = "" if method == "CANCEL" else self.to_tag
        return (
            f"{method} sip:{user}@{self.there} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.transport.upper()} {self.here};branch={self.branch}\r\n"
            f"From: <sip:pbx@{self.here}>;tag={self.tag}\r\nTo: <sip:{user}@{self.there}>{to_tag}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {self.cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:pbx@{self.here};transport={self.transport}>\r\n{extra}{kind}"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        )

    def receive(self) -> headers.Message:
        raw = self.sock.recv(65536) if self.transport == "udp" else self._one_of_stream()
        return headers.split(raw.decode())

    def expect(self, *start: str) -> headers.Message:
        """The next message whose start line has all these words; the ones before are let pass."""
        while True:
            message = self.receive()
            if all(word in message.start.split(" ") for word in start):
                to = message.get("to") or ""
                if ";tag=" in to and message.start.startswith("SIP/2.0 ") and not self.to_tag:
                    self.to_tag = ";tag=" + to.partition(";tag=")[2]
                return message

    def reply(self, request: headers.Message, code: int = 200, body: str = "", extra: str = "") -> None:
        """A response to a request of the other side."""
        lines = [f"SIP/2.0 {code} Whatever"]
        lines += [f"Via: {value}" for value in request.all("via")]
        to = request.get("to") or ""
        lines += [f"From: {request.get('from')}", f"To: {to if ';tag=' in to else to + ';tag=' + self.tag}"]
        lines += [
            f"Call-ID: {request.get('call-id')}",
            f"CSeq: {request.get('cseq')}",
            f"Contact: <sip:pbx@{self.here}>",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n" + extra + "\r\n" + body)

    def _one_of_stream(self) -> bytes:
        while True:
            head, end, rest = self._stream.partition(b"\r\n\r\n")
            if end:
                message = headers.split(head.decode() + "\n\n")
                size = int(message.get("content-length") or 0)
                if len(rest) >= size:
                    self._stream = rest[size:]
                    return head + end + rest[:size]
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError("the other side closed the connection")
            self._stream += data


def roundtrip(message: msgspec.Struct, union: object) -> object:
    """A message through the channel's encoding and back."""
    return msgspec.msgpack.Decoder(union).decode(msgspec.msgpack.encode(message))
