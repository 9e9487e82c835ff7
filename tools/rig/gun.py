"""Fires messages at a gateway over UDP, a volley at a time, and sees to what comes back.

A volley is followed by an OPTIONS; the next one leaves when that is answered. So nothing is lost in a full socket
buffer, each message has been read when it is counted, and a gateway that is stuck is noticed at once. Calls that
came of a message are acknowledged and ended, refusals acknowledged, so that nothing is kept waiting.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

VOLLEY: Final = 24
#: The OPTIONS is sent again after this long, and the gateway given up after so many.
AGAIN_S: Final = 1.0
TRIES: Final = 20
MAX_CSEQ: Final = 2**31 - 1
_HEADER = r"(?im)^(?:{0})[ \t]*:[ \t]*(.*?)\r?$"
_FIELDS: Final = {
    name: re.compile(_HEADER.format(pattern))
    for name, pattern in (
        ("from", "from|f"),
        ("to", "to|t"),
        ("call-id", "call-id|i"),
        ("cseq", "cseq"),
        ("via", "via|v"),
        ("contact", "contact|m"),
    )
}


class Deaf(Exception):
    """The gateway does not answer any more."""


@dataclass
class Tally:
    """answers: by status code. slowest_ms: the longest wait for an OPTIONS. resent: OPTIONS that got none at first."""

    fired: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    resent: int = 0


class Gun:
    """target: host:port. Use `here` in the messages' Via."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.connect((host, int(port)))
        self._sock.setblocking(False)
        self.here = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self.tally = Tally()
        self._probes = 0
        self._branches = itertools.count()
        self._kept = ""
        self._dialog = ""

    def close(self) -> None:
        self._sock.close()

    def fire(self, messages: Iterator[bytes], count: int, rate: float = 0.0) -> None:
        """So many messages, at most so many a second (0: as fast as they are taken). Raises Deaf."""
        began = time.monotonic()
        for sent in range(0, count, VOLLEY):
            volley = list(islice(messages, min(VOLLEY, count - sent)))
            for message in volley:
                self._send(message)
            self.tally.fired += len(volley)
            self.await_answer()
            if rate:
                ahead = began + (sent + len(volley)) / rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)

    def dial(self, name: str, invite: bytes) -> str:
        """Place a call that is not ended: its From, To and Call-ID as lines, "" when it was refused. Raises Deaf."""
        self._kept, self._dialog = name, ""
        self._send(invite)
        self.await_answer()
        until = time.monotonic() + AGAIN_S
        while not self._dialog and self._listen_for(name, until):
            continue
        return self._dialog

    def await_answer(self) -> None:
        """Send an OPTIONS and see to everything that comes until it is answered. Raises Deaf."""
        self._probes += 1
        name = f"probe{self._probes}"
        probe = (
            f"OPTIONS sip:gateway SIP/2.0\r\nVia: SIP/2.0/UDP {self.here};rport;branch=z9hG4bK{name}\r\n"
            f"From: <sip:probe@{self.here}>;tag={name}\r\nTo: <sip:gateway>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        began = time.monotonic()
        for _ in range(TRIES):
            self._send(probe)
            if self._listen_for(name, time.monotonic() + AGAIN_S):
                self.tally.slowest_ms = max(self.tally.slowest_ms, 1000 * (time.monotonic() - began))
                return
            self.tally.resent += 1
        raise Deaf(f"no answer to {TRIES} OPTIONS after {self.tally.fired} messages")

    def _listen_for(self, name: str, until: float) -> bool:
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._sock], [], [], left)[0]:
                return False
            try:
                data = self._sock.recv(65536)
            except OSError:  # an ICMP refusal: the stack is being restarted
                time.sleep(0.05)
                continue
            if self._take(data.decode("utf-8", "replace")) == name:
                return True
        return False

    def _take(self, text: str) -> str:
        """See to a message; its Call-ID."""
        found = {name: match[1] if (match := pattern.search(text)) else "" for name, pattern in _FIELDS.items()}
        word = text[:12].split(" ")
        if word[0] == "SIP/2.0" and len(word) > 1 and word[1].isdigit():
            code = int(word[1])
            if not found["call-id"].startswith("probe"):
                self.tally.answers[code] += 1
            if code >= 200 and found["cseq"].endswith("INVITE"):
                self._acknowledge(code, found)
        elif text.startswith(("BYE ", "OPTIONS ", "UPDATE ", "INVITE ")):
            self._send(_answer(text, found))
        return found["call-id"]

    def hang_up(self) -> None:
        """End the call of the last `dial`, with the highest number there is: what was spoilt may have used another."""
        if self._dialog:
            self._send(
                f"BYE sip:gateway SIP/2.0\r\nVia: {self._via()}\r\n{self._dialog}\r\nCSeq: {MAX_CSEQ} BYE\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
            )
        self._dialog = ""

    def _via(self) -> str:
        """Of a new transaction: another branch than any before (RFC 3261 §8.1.1.7), or it is taken for that one."""
        return f"SIP/2.0/UDP {self.here};rport;branch=z9hG4bKgun{next(self._branches)}"

    def _acknowledge(self, code: int, found: dict[str, str]) -> None:
        kept = code < 300 and found["call-id"] == self._kept
        if kept:
            self._dialog = f"From: {found['from']}\r\nTo: {found['to']}\r\nCall-ID: {found['call-id']}"
        number = found["cseq"].split(" ")[0]
        target = re.sub(r"^[^<]*<|>.*$", "", found["contact"]) or "sip:gateway"
        methods = [("ACK", number)]
        if code < 300 and number.isdigit() and not kept:
            methods.append(("BYE", str(int(number) + 1)))
        for method, sequence in methods:
            via = found["via"] if code >= 300 else self._via()
            self._send(
                f"{method} {target} SIP/2.0\r\nVia: {via}\r\nFrom: {found['from']}\r\nTo: {found['to']}\r\n"
                f"Call-ID: {found['call-id']}\r\nCSeq: {sequence} {method}\r\nMax-Forwards: 70\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )

    def _send(self, message: bytes) -> None:
        try:
            self._sock.send(message)
        except ConnectionRefusedError:
            self._sock.send(message)  # the error was an earlier one's


def _answer(text: str, found: dict[str, str]) -> bytes:
    vias = "".join(f"Via: {via}\r\n" for via in _FIELDS["via"].findall(text.partition("\r\n\r\n")[0]))
    return (
        f"SIP/2.0 200 OK\r\n{vias}From: {found['from']}\r\nTo: {found['to']}\r\nCall-ID: {found['call-id']}\r\n"
        f"CSeq: {found['cseq']}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
