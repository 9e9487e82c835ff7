"""Seeded mutations of SIP messages and session descriptions: the same seed gives the same octets.

Owns what is sent and how it is spoilt; knows no socket. What a stack has been brought down by is in the tables:
numbers at the edges, lines too many or too long, parts doubled, gone or cut, bytes that are no text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

NUMBERS: Final = (
    "0",
    "-1",
    "1",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "18446744073709551616",
    "9" * 40,
    "1e9",
    "",
)
TOKENS: Final = (
    *(b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\xff", b"\xc3\x28", b"%s%n", b"%00", b"\\", b'"', b"<", b">"),
    *(
        b";",
        b":",
        b"@",
        b",",
        b"[",
        b"]",
        b"[::1]",
        b"::::",
        b"\t ",
        b"=",
        b"==",
        b"?",
        b"A" * 300,
        b"A" * 5000,
        b"(" * 60,
    ),
)
NAMES: Final = (
    b"v",
    b"f",
    b"t",
    b"i",
    b"m",
    b"l",
    b"c",
    b"Require",
    b"Route",
    b"Record-Route",
    b"Session-Expires",
    b"X-A",
)
#: Of a thousand messages, how many have 1, 2, 3, … spoilt places.
PLACES: Final = (780, 120, 50, 30, 20)

_HEADERS: Final = (
    "Max-Forwards: 70",
    "Supported: 100rel, timer, replaces, norefersub",
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS",
    "User-Agent: fuzz/1.0 (x; y)",
    "Session-Expires: 1800;refresher=uac",
    "Min-SE: 90",
    'P-Asserted-Identity: "A \\"B\\" C" <sip:+4930123456@example.net;user=phone>',
    "Record-Route: <sip:p1.example.net;lr>,<sip:p2.example.net;lr;x=%20>",
    "Subject: 你好 😀",
    "Date: Sat, 21 Nov 2026 00:00:00 GMT",
    'Authorization: Digest username="a",realm="b",nonce="c",uri="sip:d",response="00000000000000000000000000000000"',
    "X-Session-Speaker: agent",
    "X-Session-Metadata-Order: 4711",
    "History-Info: <sip:a@b?Reason=SIP%3Bcause%3D302>;index=1.1",
    'Reason: Q.850;cause=16;text="bye"',
    "Accept: application/sdp, multipart/mixed",
    "Privacy: none",
    "RAck: 1 1 INVITE",
    "Refer-To: <sip:bob@example.net?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
    "Event: refer;id=1",
    "Expires: 300",
    "Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKother;received=192.0.2.1;rport=5060;ttl=1;maddr=127.0.0.1",
)
METHODS: Final = (
    *("INVITE",) * 5,
    "OPTIONS",
    "BYE",
    "CANCEL",
    "ACK",
    "REGISTER",
    "INFO",
    "UPDATE",
    "REFER",
    "PRACK",
    "NOTIFY",
    "MESSAGE",
    "SUBSCRIBE",
    "PUBLISH",
    "FOO",
)
_AUDIO: Final = (
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:20",
    "a=maxptime:40",
    "a=sendrecv",
    "a=sendonly",
    "a=inactive",
    "a=rtcp-mux",
    "a=rtcp:4001 IN IP4 127.0.0.1",
    "b=AS:64",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
    "a=crypto:2 AES_256_CM_HMAC_SHA1_80 inline:" + "A" * 62 + "==",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=ice-ufrag:F7gI",
    "a=candidate:1 1 UDP 2130706431 10.0.1.1 8998 typ host",
    "a=ssrc:1 cname:x",
    "a=fmtp:0 x=1;y=2",
    "a=rtpmap:97 opus/48000/2",
    "a=silenceSupp:off - - - -",
    "a=setup:actpass",
    "a=mid:0",
    "i=x",
    "k=clear:x",
    "c=IN IP4 127.0.0.1",
)
#: Each with the names of its dynamic numbers, without which pjsip looks no further.
_MEDIA: Final = (
    "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000",
    "m=audio 4000 RTP/SAVP 0 8 13 101\r\na=rtpmap:101 telephone-event/8000",
    "m=audio 4000/2 RTP/AVP 97 18 9 0\r\na=rtpmap:97 opus/48000/2",
    "m=audio 0 RTP/AVP 0",
    "m=video 5000 RTP/AVP 31 96\r\na=rtpmap:96 H264/90000",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "m=image 4002 udptl t38",
)


def sdp(rng: random.Random) -> str:
    """A description that is nearly always good."""
    lines = ["v=0", f"o=- {rng.randrange(2**31)} 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    lines.append(_MEDIA[0] if rng.random() < 0.8 else rng.choice(_MEDIA))
    lines += rng.sample(_AUDIO, rng.randrange(0, 9))
    if rng.random() < 0.2:
        lines += [rng.choice(_MEDIA), *rng.sample(_AUDIO, rng.randrange(0, 4))]
    return "\r\n".join(lines) + "\r\n"


def request(
    rng: random.Random,
    name: str,
    here: str,
    method: str,
    user: str,
    body: str = "",
    within: str = "",
    sequence: int = 1,
) -> bytes:
    """A request that is good. name: unique, for the branch and the Call-ID. within: From, To and Call-ID of a dialog,
    as lines that replace ours."""
    content = body.encode("latin-1", "replace")
    lines = [
        f"{method} sip:{user}@gateway SIP/2.0",
        f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{name}",
        *(within or f"From: <sip:fuzz@{here}>;tag={name}\r\nTo: <sip:{user}@gateway>\r\nCall-ID: {name}").split("\r\n"),
        f"CSeq: {sequence} {method}",
        f"Contact: <sip:fuzz@{here}>",
        *rng.sample(_HEADERS, rng.randrange(0, 8)),
        *(("Content-Type: application/sdp",) if body else ()),
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def response(rng: random.Random, name: str, here: str) -> bytes:
    """A response that nobody waits for."""
    code = rng.choice((100, 180, 183, 200, 302, 401, 407, 487, 503, 699))
    lines = (
        f"SIP/2.0 {code} Whatever",
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{name}",
        "From: <sip:a@b>;tag=1",
        "To: <sip:c@d>;tag=2",
        f"Call-ID: {name}",
        "CSeq: 1 INVITE",
        *rng.sample(_HEADERS, 3),
        "Content-Length: 0",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def spoil(rng: random.Random, data: bytes) -> bytes:
    """The same with some places spoilt. At most about twice the size."""
    (places,) = rng.choices(range(1, len(PLACES) + 1), PLACES)
    for _ in range(places):
        data = rng.choice(_KINDS)(rng, data) if data else rng.choice(TOKENS)
    return data[:60000]


def spoilt_offer(rng: random.Random) -> str:
    """A description with some places spoilt, as text that a message can carry whole."""
    return spoil(rng, sdp(rng).encode()).decode("latin-1")


def _bit(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :]


def _octet(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + bytes([rng.randrange(256)]) + data[i + 1 :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + data[i + rng.choice((1, 2, 8, 40, 200)) :]


def _end(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _double(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    part = data[i : i + rng.choice((1, 4, 30, 200))]
    return data[:i] + part * rng.choice((2, 2, 3, 20)) + data[i + len(part) :]


def _token(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + rng.choice(TOKENS) + data[i:]


def _number(rng: random.Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return data
    at = rng.choice(found)
    return data[: at.start()] + rng.choice(NUMBERS).encode() + data[at.end() :]


def _lines(rng: random.Random, data: bytes) -> bytes:
    """A line gone, doubled many times, moved, or of another name."""
    lines = data.split(b"\r\n")
    i = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines[i:i] = [lines[i]] * rng.choice((1, 2, 70, 300))
    elif kind == 2:
        j = rng.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 3:
        lines[i] = rng.choice(NAMES) + b":" + lines[i].partition(b":")[2]
    else:
        lines[i] = lines[i][: len(lines[i]) // 2] + b"\r\n " + lines[i][len(lines[i]) // 2 :]
    return b"\r\n".join(lines)


_KINDS: Final = (_bit, _octet, _cut, _end, _double, _token, _number, _number, _lines, _lines)


def datagrams(seed: int, here: str, user: str) -> Iterator[bytes]:
    """Spoilt messages of all kinds, without end."""
    rng, n = random.Random(seed), 0
    while True:
        n += 1
        name = f"d{seed:x}x{n:x}"
        if rng.random() < 0.05:
            yield spoil(rng, response(rng, name, here))
            continue
        method = rng.choice(METHODS)
        body = sdp(rng) if method in ("INVITE", "UPDATE") or rng.random() < 0.1 else ""
        yield spoil(rng, request(rng, name, here, method, user, body))


def offers(seed: int, here: str, user: str) -> Iterator[bytes]:
    """Good INVITEs with spoilt descriptions, without end."""
    rng, n = random.Random(seed), 0
    while True:
        n += 1
        yield request(rng, f"o{seed:x}x{n:x}", here, "INVITE", user, spoilt_offer(rng))


def within(seed: int, here: str, user: str, dialog: str) -> Iterator[bytes]:
    """Spoilt requests of a call that is up, without end. dialog: its From, To and Call-ID as lines."""
    rng, n = random.Random(seed), 1
    while True:
        n += 1
        method = rng.choice(
            ("INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "PRACK", "OPTIONS", "MESSAGE", "ACK", "CANCEL")
        )
        body = spoilt_offer(rng) if method in ("INVITE", "UPDATE", "ACK") else ""
        yield spoil(rng, request(rng, f"w{seed:x}x{n:x}", here, method, user, body, dialog, n))
