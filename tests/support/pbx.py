"""A PBX in a thread's worth of code: a UDP socket that answers INVITE, REGISTER and what follows as a test says."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from typing import Final

from gateway.sip import headers
from gateway.sip.headers import Message

PATIENCE_S: Final = 10.0
REALM: Final = "pbx"


class Pbx:
    """Waits for requests and answers them, one at a time. `here`: its host:port."""

    def __init__(self, rtp_port: int = 40000) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.2)
        self.port: int = self.sock.getsockname()[1]
        self.here = f"127.0.0.1:{self.port}"
        self.rtp_port = rtp_port
        self.sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {rtp_port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
        self.peer: tuple[str, int] | None = None
        self.cseq = 100
        self.last = b""

    def close(self) -> None:
        self.sock.close()

    def expect(self, *words: str, patience_s: float = PATIENCE_S) -> Message:
        """The next message whose start line has these words; others are let pass, retransmissions too."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            try:
                data, self.peer = self.sock.recvfrom(65536)
            except TimeoutError:
                continue
            if len(data) < 10:
                continue
            message = headers.split(data.decode())
            if all(word in message.start.split(" ") for word in words):
                return message
        raise AssertionError(f"no {' '.join(words)} came")

    def expect_with(self, method: str, field: str) -> Message:
        """The next request of the method that has the header; one without it is an earlier one, sent again."""
        while (request := self.expect(method)).get(field) is None:
            pass
        return request

    def quiet(self, *words: str, for_s: float = 0.5) -> bool:
        """Whether nothing of the kind comes for a while."""
        try:
            self.expect(*words, patience_s=for_s)
        except AssertionError:
            return True
        return False

    def reply(
        self, request: Message, code: int, reason: str = "Whatever", body: str = "", extra: str = "", tag: str = "pbx"
    ) -> None:
        to = request.get("to") or ""
        lines = [f"SIP/2.0 {code} {reason}", *(f"Via: {via}" for via in request.all("via"))]
        lines += [f"From: {request.get('from')}", f"To: {to if ';tag=' in to or code == 100 else f'{to};tag={tag}'}"]
        lines += [f"Call-ID: {request.get('call-id')}", f"CSeq: {request.get('cseq')}"]
        lines.append(f"Contact: <sip:pbx@{self.here}>")
        if body:
            lines.append("Content-Type: application/sdp")
        head = "\r\n".join(lines) + "\r\n" + extra
        assert self.peer is not None
        self.sock.sendto(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode(), self.peer)

    def within(
        self,
        invite: Message,
        method: str,
        body: str = "",
        extra: str = "",
        tag: str = "pbx",
        kind: str = "application/sdp",
    ) -> None:
        """A request in the dialog of an INVITE that we answered."""
        self.cseq += 1
        target = headers.address_uri(invite.get("contact") or "")
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.here};branch=z9hG4bK{method}{self.cseq}{time.monotonic_ns()}",
            f"From: {invite.get('to')};tag={tag}",
            f"To: {invite.get('from')}",
            f"Call-ID: {invite.get('call-id')}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:pbx@{self.here}>",
            "Max-Forwards: 70",
        ]
        if body:
            lines.append(f"Content-Type: {kind}")
        head = "\r\n".join(lines) + "\r\n" + extra
        self.last = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        self.again()

    def again(self) -> None:
        """Send the last request within a dialog once more, as when its response was lost."""
        assert self.peer is not None
        self.sock.sendto(self.last, self.peer)

    def challenge(self, request: Message, code: int = 401, *, nonce: str = "n1", algorithm: str = "MD5") -> None:
        name = "WWW-Authenticate" if code == 401 else "Proxy-Authenticate"
        value = f'Digest realm="{REALM}", nonce="{nonce}", algorithm={algorithm}, qop="auth"'
        self.reply(request, code, "Unauthorized", extra=f"{name}: {value}\r\n")


def knows(request: Message, username: str, password: str) -> bool:
    """Whether the request's digest is that of the password (RFC 7616 §3.4.1)."""
    given = request.get("authorization") or request.get("proxy-authorization") or ""
    fields = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', given)}
    if fields.get("username") != username:
        return False
    make = hashlib.sha256 if fields.get("algorithm") == "SHA-256" else hashlib.md5

    def hashed(text: str) -> str:
        return make(text.encode()).hexdigest()

    ha1 = hashed(f"{username}:{REALM}:{password}")
    ha2 = hashed(f"{request.start.split(' ')[0]}:{fields['uri']}")
    words = (ha1, fields["nonce"], fields["nc"], fields["cnonce"], fields["qop"], ha2)
    return bool(fields["response"] == hashed(":".join(words)))
