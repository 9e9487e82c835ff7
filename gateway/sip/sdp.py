"""SDP text into data and back (RFC 8866): `parse` and `render`, each other's inverse for what a leg needs.

Owns the grammar and the bounds: nothing absurd gets past `parse`, so nobody behind it checks a number
again. It refuses to know what an offer or an answer is (`negotiation.py`) and which codecs we like.
Pure functions; no clock, no randomness, no socket.

Lenient where the field is (unknown lines and attributes are skipped, bare LF, a missing `s=`), strict
where a number reaches code that trusts it: ports, payload types, clock rates, packet times, addresses.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import itertools
from collections.abc import Iterator
from typing import Final

from gateway.sip.description import (
    DIRECTIONS,
    DTMF,
    STATIC,
    SUITES,
    Codec,
    Crypto,
    Direction,
    Media,
    Refusal,
    SdpRefused,
    Session,
)

MAX_BYTES: Final = 16_384
MAX_LINES: Final = 400
MAX_LINE: Final = 1_024
MAX_MEDIA: Final = 16
MAX_FORMATS: Final = 32
#: Per media section, and in the session part. pjmedia is built with the same bound: more than 64 crypto
#: lines once overflowed an array on its stack.
MAX_ATTRIBUTES: Final = 60
#: A packet time beyond these is not a preference but an error or an attack (pjmedia divided by it).
PTIME_RANGE_MS: Final = (5, 200)


def parse(text: str) -> Session:
    """Read an SDP. Raises SdpRefused with the first reason found."""
    lines = list(_lines(text))
    if lines[0] != ("v", "0"):
        raise SdpRefused(Refusal.BAD_VERSION, lines[0][1])
    starts = [i for i, (kind, _) in enumerate(lines) if kind == "m"]
    if len(starts) > MAX_MEDIA:
        raise SdpRefused(Refusal.TOO_MANY_MEDIA, str(len(starts)))
    bounds = [*starts, len(lines)]
    common = lines[1 : bounds[0]]
    origin = next((value for kind, value in common if kind == "o"), None)
    if origin is None:
        raise SdpRefused(Refusal.BAD_ORIGIN)
    user, session_id, version, address = _origin(origin)
    session = _Section(common)
    sections = tuple(
        _media(lines[start], _Section(lines[start + 1 : end]), session) for start, end in itertools.pairwise(bounds)
    )
    return Session(session_id, version, address, sections, user)


def render(session: Session) -> str:
    """Write an SDP, lines ended by CRLF. `parse` gives the same session back."""
    lines = [
        "v=0",
        f"o={session.user} {session.session_id} {session.version} IN {_net(session.address)}",
        "s=-",
        f"c=IN {_net(session.address)}",
        "t=0 0",
    ]
    for media in session.media:
        lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}")
        if media.port == 0:
            continue  # RFC 3264 §6: what follows in a rejected section is ignored
        lines.extend(_render_media(media, session.address))
    return "\r\n".join(lines) + "\r\n"


def rejected(media: Media) -> Media:
    """The same section refused: port 0, media type and formats as offered (RFC 3264 §6)."""
    return Media(media.kind, 0, media.protocol, media.formats, media.address)


def _render_media(media: Media, session_address: str) -> Iterator[str]:
    if media.address != session_address:
        yield f"c=IN {_net(media.address)}"
    if media.no_rtcp:
        yield from ("b=RS:0", "b=RR:0")
    for codec in media.codecs:
        channels = f"/{codec.channels}" if codec.channels != 1 else ""
        yield f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.rate}{channels}"
        if codec.fmtp:
            yield f"a=fmtp:{codec.payload_type} {codec.fmtp}"
    if media.ptime:
        yield f"a=ptime:{media.ptime}"
    if media.maxptime:
        yield f"a=maxptime:{media.maxptime}"
    if media.rtcp_port:
        where = f" IN {_net(media.rtcp_address)}" if media.rtcp_address else ""
        yield f"a=rtcp:{media.rtcp_port}{where}"
    if media.rtcp_mux:
        yield "a=rtcp-mux"
    for crypto in media.crypto:
        yield f"a=crypto:{crypto.tag} {crypto.suite} inline:{base64.b64encode(crypto.key).decode()}"
    yield f"a={media.direction.name.lower()}"


def _net(address: str) -> str:
    return f"IP{ipaddress.ip_address(address).version} {address}"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(type, value) of each line, at least one."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SdpRefused(Refusal.TOO_LONG, str(len(text)))
    lines = text.replace("\r\n", "\n").rstrip("\r\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SdpRefused(Refusal.TOO_MANY_LINES, str(len(lines)))
    for line in lines:
        if len(line) > MAX_LINE:
            raise SdpRefused(Refusal.LINE_TOO_LONG, line)
        if any(c < " " and c != "\t" for c in line) or "\x7f" in line:
            raise SdpRefused(Refusal.NOT_TEXT, line)
        if len(line) < 2 or line[1] != "=" or not "a" <= line[0] <= "z":
            raise SdpRefused(Refusal.BAD_LINE, line)
        yield line[0], line[2:].strip(" \t")


class _Section:
    """The lines of the session part or of one media section, found by type and by attribute name."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self.bandwidth = [value for kind, value in lines if kind == "b"]
        self.connection = next((_connection(value) for kind, value in lines if kind == "c"), None)
        attributes = [value for kind, value in lines if kind == "a"]
        if len(attributes) > MAX_ATTRIBUTES:
            raise SdpRefused(Refusal.TOO_MANY_ATTRIBUTES, str(len(attributes)))
        self.attributes: dict[str, list[str]] = {}
        for attribute in attributes:
            name, _, value = attribute.partition(":")
            self.attributes.setdefault(name.strip().lower(), []).append(value.strip())

    def first(self, name: str) -> str | None:
        values = self.attributes.get(name)
        return values[0] if values else None

    @property
    def direction(self) -> Direction | None:
        return next((d for name, d in DIRECTIONS.items() if name in self.attributes), None)


def _media(line: tuple[str, str], section: _Section, session: _Section) -> Media:
    words = line[1].split()
    if len(words) < 4:
        raise SdpRefused(Refusal.BAD_MEDIA, line[1])
    kind, port_text, protocol, *formats = words
    if len(formats) > MAX_FORMATS:
        raise SdpRefused(Refusal.TOO_MANY_FORMATS, str(len(formats)))
    port = _number(port_text.partition("/")[0], 65535, Refusal.BAD_PORT)
    if not line[1].isascii():  # tokens all (§9), which an answer echoes
        raise SdpRefused(Refusal.BAD_MEDIA, line[1])
    connection = section.connection or session.connection
    if connection is None:
        if port:
            raise SdpRefused(Refusal.NO_CONNECTION, line[1])
        connection = "0.0.0.0"
    if port == 0 or not protocol.upper().startswith("RTP/"):
        return Media(kind.lower(), port, protocol, tuple(formats), connection)
    rtcp_port, rtcp_address = _rtcp(section.first("rtcp"))
    return Media(
        kind=kind.lower(),
        port=port,
        protocol=protocol.upper(),
        formats=tuple(formats),
        address=connection,
        codecs=_codecs(formats, section),
        direction=section.direction or session.direction or Direction.SENDRECV,
        ptime=_ptime(section.first("ptime")),
        maxptime=_ptime(section.first("maxptime")),
        rtcp_port=rtcp_port,
        rtcp_address=rtcp_address,
        rtcp_mux="rtcp-mux" in section.attributes,
        no_rtcp={"RS:0", "RR:0"} <= {value.upper() for value in section.bandwidth},
        crypto=tuple(_crypto(value) for value in section.attributes.get("crypto", [])),
    )


def _codecs(formats: list[str], section: _Section) -> tuple[Codec, ...]:
    types = [_number(value, 127, Refusal.BAD_PAYLOAD_TYPE) for value in formats]
    maps: dict[int, tuple[str, int, int]] = {}
    for value in section.attributes.get("rtpmap", []):
        if "/" in value:  # without a clock rate it names no format (RFC 8866 §6.6)
            number, name, rate, channels = _rtpmap(value)
            maps.setdefault(number, (name, rate, channels))
    parameters: dict[int, str] = {}
    for value in section.attributes.get("fmtp", []):
        number_text, _, rest = value.partition(" ")
        if number_text.isdecimal() and number_text.isascii():
            parameters.setdefault(int(number_text[:4]), rest.strip())
    found = []
    for number in dict.fromkeys(types):
        if number in maps:
            name, rate, channels = maps[number]
        elif number in STATIC:
            (name, rate), channels = STATIC[number], 1
        else:
            continue  # a dynamic number without a map means nothing (RFC 3551 §3)
        found.append(Codec(number, name, rate, channels, parameters.get(number, "")))
    return tuple(found)


def _rtpmap(value: str) -> tuple[int, str, int, int]:
    number_text, _, rest = value.partition(" ")
    number = _number(number_text, 127, Refusal.BAD_RTPMAP)
    name, _, tail = rest.strip().partition("/")
    rate_text, _, channels_text = tail.partition("/")
    if not name or not name.isascii() or len(name) > 40 or not rate_text:
        raise SdpRefused(Refusal.BAD_RTPMAP, value)
    rate = _number(rate_text, 1_000_000, Refusal.BAD_CLOCK_RATE)
    if rate == 0:
        raise SdpRefused(Refusal.BAD_CLOCK_RATE, value)
    channels = _number(channels_text, 32, Refusal.BAD_RTPMAP) if channels_text else 1
    return number, DTMF if name.lower() == DTMF else name.upper(), rate, channels


def _ptime(value: str | None) -> int:
    if value is None:
        return 0
    whole = value.partition(".")[0]  # some phones write 20.0
    low, high = PTIME_RANGE_MS
    number = _number(whole, high, Refusal.BAD_PTIME)
    if number < low:
        raise SdpRefused(Refusal.BAD_PTIME, value)
    return number


def _rtcp(value: str | None) -> tuple[int, str]:
    """RFC 3605 §2.1: `port [IN IP4 address]`."""
    if value is None:
        return 0, ""
    words = value.split()
    if len(words) not in (1, 4):
        raise SdpRefused(Refusal.BAD_RTCP, value)
    port = _number(words[0], 65535, Refusal.BAD_RTCP)
    return port, _connection(" ".join(words[1:])) if len(words) == 4 else ""


def _crypto(value: str) -> Crypto:
    """RFC 4568 §9.1: `tag suite inline:key[|lifetime][|MKI:length] [session parameters]`."""
    words = value.split()
    if len(words) < 3:
        raise SdpRefused(Refusal.BAD_CRYPTO)
    tag_text, suite, keys, *parameters = words
    tag = _number(tag_text, 999_999_999, Refusal.BAD_CRYPTO)
    suite = suite.upper()
    method, _, info = keys.partition(":")
    key_text, *more = info.split("|")
    # §6.3: a parameter may be ignored only when it begins with a dash
    usable = suite in SUITES and method.lower() == "inline" and all(p.startswith("-") for p in parameters)
    usable = usable and ";" not in keys and not any(":" in part for part in more)
    if not usable:
        return Crypto(tag, suite, b"", usable=False)
    try:
        key = base64.b64decode(key_text + "=" * (-len(key_text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SdpRefused(Refusal.BAD_CRYPTO) from None
    if len(key) != SUITES[suite]:
        raise SdpRefused(Refusal.BAD_CRYPTO)
    return Crypto(tag, suite, key)


def _origin(value: str) -> tuple[str, int, int, str]:
    words = value.split()
    if len(words) != 6:
        raise SdpRefused(Refusal.BAD_ORIGIN, value)
    user, session_id, version, net, _, address = words
    if net.upper() != "IN":
        raise SdpRefused(Refusal.BAD_ORIGIN, value)
    # RFC 8866 §5.2: numeric strings; some equipment exceeds 64 bits, so the bound is on the digits
    limit = 10**20
    return (
        user,
        _number(session_id, limit, Refusal.BAD_ORIGIN),
        _number(version, limit, Refusal.BAD_ORIGIN),
        address,
    )


def _connection(value: str) -> str:
    words = value.split()
    if len(words) != 3 or words[0].upper() != "IN" or words[1].upper() not in ("IP4", "IP6"):
        raise SdpRefused(Refusal.BAD_CONNECTION, value)
    # A name would have to be resolved, by somebody who can be made to wait for it
    text = words[2].partition("/")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise SdpRefused(Refusal.HOST_NAME, text) from None
    if str(address.version) != words[1][2]:
        raise SdpRefused(Refusal.BAD_CONNECTION, value)
    if address.is_multicast or text == "255.255.255.255":
        raise SdpRefused(Refusal.MULTICAST, text)
    if getattr(address, "scope_id", None):
        raise SdpRefused(Refusal.BAD_CONNECTION, text)
    return str(address)


def _number(text: str, maximum: int, refusal: Refusal) -> int:
    """Decimal digits only: int() would take signs, blanks, underscores and other scripts' digits."""
    if not text.isascii() or not text.isdigit() or len(text) > 21 or (value := int(text)) > maximum:
        raise SdpRefused(refusal, text)
    return value
