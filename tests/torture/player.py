"""Plays a torture message to a running gateway, and says what came of it in a few words.

Owns the sockets on which answers can come and the end of a call that a message began. An answer over UDP goes to the
port that the message's Via names (RFC 3261 §18.2.2), so this listens on those, at a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from gateway.sip import headers
from tests.torture.messages import Torture

#: Sent-by ports of the messages whose Via lets an answer come; 5060 is where all others expect it.
PORTS: Final = (5060, 5050, 6050, 19823)
#: How long an answer that must come may take before it counts as none.
PATIENCE_S: Final = 10.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """answers: final status codes, in order. alive_ms: how long the OPTIONS behind it took. framing: over TCP, what
    became of an OPTIONS behind it on the same connection: answered, closed, silent."""

    answers: tuple[int, ...]
    alive_ms: float
    framing: str = ""

    def __str__(self) -> str:
        return " ".join(str(code) for code in self.answers) or "silence"


class Answer:
    """A message that came, and on which socket."""

    def __init__(self, sock: socket.socket, sender: tuple[str, int] | None, raw: bytes) -> None:
        self.sock, self.sender = sock, sender
        self.message = headers.split(raw.decode("utf-8", "surrogateescape"))
        words = self.message.start.split(" ")
        self.code = int(words[1]) if words[0] == "SIP/2.0" else 0
        self.call_id = self.message.get("call-id") or ""
        self.method = (self.message.get("cseq") or " ").split()[-1]


class Player:
    """address: of the gateway, `host:port` for both transports. Use as a context manager."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        self.family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Another run on this machine listens on the same ports: of IPv4 there are loopback addresses enough
        parts = [random.randint(1, 254) for _ in range(3)]
        self.here = "::1" if self.family == socket.AF_INET6 else f"127.{parts[0]}.{parts[1]}.{parts[2]}"
        self.udp: list[socket.socket] = []

    def __enter__(self) -> Self:
        for port in PORTS:
            sock = socket.socket(self.family, socket.SOCK_DGRAM)
            self.udp.append(sock)
            sock.bind((self.here, port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self.udp:
            sock.close()

    # UDP

    def over_udp(self, message: Torture) -> Outcome:
        for sock in self.udp:
            drain(sock)
        self._datagram(message.raw)
        alive_ms, heard = self._probe_udp()
        answers = own(message, heard)
        while waits(answers):
            answers += own(message, self._heard_udp(PATIENCE_S, answers))
        for answer in ended(answers):
            self._datagram(ack(answer, "UDP"))
            if answer.code < 300:
                self._datagram(bye(answer, "UDP"))
                self._heard_udp(PATIENCE_S, [])
        return Outcome(finals(answers), alive_ms)

    def _datagram(self, raw: bytes) -> None:
        self.udp[0].sendto(raw, (self.host, self.port))

    def _probe_udp(self) -> tuple[float, list[Answer]]:
        """An OPTIONS: how long its answer took, and what else came until then."""
        probe, call_id = options(self.here, PORTS[0], "UDP")
        began, others = time.monotonic(), list[Answer]()
        self._datagram(probe)
        while True:
            others += self._heard_udp(PATIENCE_S - (time.monotonic() - began), [])
            if any(answer.call_id == call_id for answer in others):
                alive_ms = 1000 * (time.monotonic() - began)
                return alive_ms, [answer for answer in others if answer.call_id != call_id]

    def _heard_udp(self, timeout_s: float, already: list[Answer]) -> list[Answer]:
        ready, _, _ = select.select(self.udp, [], [], max(0.0, timeout_s))
        if not ready:
            raise AssertionError(f"no answer in {PATIENCE_S:.0f} s, after {[answer.code for answer in already]}")
        found = []
        for sock in ready:
            raw, sender = sock.recvfrom(65536)
            found.append(Answer(sock, sender, raw))
        return found

    # TCP

    def over_tcp(self, message: Torture) -> Outcome:
        with (
            contextlib.closing(Stream(self.host, self.port, self.family)) as stream,
            contextlib.closing(Stream(self.host, self.port, self.family)) as other,
        ):
            stream.send(message.raw)
            probe, call_id = options(stream.address, stream.local_port, "TCP")
            stream.send(probe)
            # The gateway is one thread: when an OPTIONS that was sent later is answered, twice, it has read this one.
            alive_ms = other.probe()
            other.probe()
            heard = stream.heard(0)
            framing = "answered" if any(answer.call_id == call_id for answer in heard) else "silent"
            answers = own(message, heard)
            while waits(answers):
                answers += own(message, stream.heard(PATIENCE_S))
            if framing == "silent" and stream.closed:
                framing = "closed"
            for answer in ended(answers):
                stream.send(ack(answer, "TCP"))
                if answer.code < 300:
                    stream.send(bye(answer, "TCP"))
                    stream.heard(PATIENCE_S)
        return Outcome(finals(answers), alive_ms, framing)


class Stream:
    """A connection to the gateway."""

    def __init__(self, host: str, port: int, family: socket.AddressFamily) -> None:
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.connect((host, port))
        self.local_port: int = self.sock.getsockname()[1]
        self.address = host
        self.closed = False
        self._rest = b""

    def close(self) -> None:
        self.sock.close()

    def send(self, raw: bytes) -> None:
        try:
            self.sock.sendall(raw)
        except OSError:
            self.closed = True

    def probe(self) -> float:
        raw, call_id = options(self.address, self.local_port, "TCP")
        began = time.monotonic()
        self.send(raw)
        while all(answer.call_id != call_id for answer in self.heard(PATIENCE_S)):
            assert not self.closed, "the gateway closed a connection on which nothing was wrong"
        return 1000 * (time.monotonic() - began)

    def heard(self, timeout_s: float) -> list[Answer]:
        """What has come, whole messages; waits for the first when there is a timeout."""
        found = self._cut()
        while not self.closed and select.select([self.sock], [], [], 0 if found else timeout_s)[0]:
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            self.closed = not data
            self._rest += data
            found += self._cut()
        if timeout_s and not found and not self.closed:
            raise AssertionError(f"no answer in {timeout_s:.0f} s")
        return found

    def _cut(self) -> list[Answer]:
        found = []
        while True:
            head, end, rest = self._rest.lstrip(b"\r\n").partition(b"\r\n\r\n")
            if not end:
                return found
            size = int(headers.split(head.decode("utf-8", "surrogateescape") + "\n\n").get("content-length") or 0)
            if len(rest) < size:
                return found
            found.append(Answer(self.sock, None, head + end + rest[:size]))
            self._rest = rest[size:]


def own(message: Torture, heard: list[Answer]) -> list[Answer]:
    """The responses to a message. One to an earlier message may come again meanwhile (RFC 3261 §17.2.1)."""
    return [answer for answer in heard if answer.code and answer.call_id.encode() in message.raw]


def drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv(65536, socket.MSG_DONTWAIT)


def options(host: str, port: int, transport: str) -> tuple[bytes, str]:
    """A request that anybody alive answers: (message, Call-ID)."""
    name = f"alive{os.getpid()}x{next(_numbers)}"
    here = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = (
        "OPTIONS sip:gateway SIP/2.0",
        f"Via: SIP/2.0/{transport} {here};rport;branch=z9hG4bK{name}",
        f"From: <sip:probe@{here}>;tag={name}",
        "To: <sip:gateway>",
        f"Call-ID: {name}",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
        "Content-Length: 0",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), name


def finals(answers: list[Answer]) -> tuple[int, ...]:
    """The final codes, each answer once however often it was repeated."""
    return tuple(dict.fromkeys(answer.code for answer in answers if answer.code >= 200))


def ended(answers: list[Answer]) -> list[Answer]:
    """The final answers to INVITEs, which want an ACK."""
    return [answer for answer in answers if answer.code >= 200 and answer.method == "INVITE"][:1]


def waits(answers: list[Answer]) -> bool:
    """Whether a provisional answer came and its final one did not."""
    early = {answer.call_id for answer in answers if answer.code < 200}
    return bool(early - {answer.call_id for answer in answers if answer.code >= 200})


def ack(answer: Answer, transport: str) -> bytes:
    return _within(answer, "ACK", transport, 0)


def bye(answer: Answer, transport: str) -> bytes:
    return _within(answer, "BYE", transport, 1)


def _within(answer: Answer, method: str, transport: str, later: int) -> bytes:
    """A request in the dialog that an answer made; the ACK of a refusal is in the INVITE's transaction (§17.1.1.3)."""
    message = answer.message
    via = message.get("via") or ""
    if answer.code < 300:
        via = f"SIP/2.0/{transport} torture.invalid;rport;branch=z9hG4bK{method}{next(_numbers)}"
    target = headers.address_uri(message.get("contact") or "<sip:gateway>")
    number = int((message.get("cseq") or "0").split()[0]) + later
    lines = (
        f"{method} {target} SIP/2.0",
        f"Via: {via}",
        f"From: {message.get('from')}",
        f"To: {message.get('to')}",
        f"Call-ID: {answer.call_id}",
        f"CSeq: {number} {method}",
        "Max-Forwards: 70",
        "Content-Length: 0",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
