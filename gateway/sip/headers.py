"""A SIP message as text, read by ourselves (RFC 3261 §7, §25): headers, URIs, bodies, and a first verdict.

Owns what is asked of a message before the stack may be told to answer it, and how a header of ours is
written so that nobody's text can add a line to it. It refuses to know dialogs, sessions and pjsua2: the
stack has parsed the message too; this is the part that we want to see with our own eyes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct, field

from gateway.sip import negotiation, sdp
from gateway.sip.description import SdpRefused

MAX_HEADERS: Final = 128
MAX_HEADER: Final = 8_192
MAX_URI: Final = 1_024
#: What an event tells of a request's headers: as many, each as long (`events.Invited`).
TOLD_HEADERS: Final = 64
TOLD_LENGTH: Final = 2_048
SDP_TYPE: Final = "application/sdp"
#: The requests whose body is a session description, or nothing.
OFFERING: Final = ("INVITE", "UPDATE")

#: Header fields of one value, which the stack would take the first or the last of (§7.3.1).
ONCE: Final = ("call-id", "cseq", "from", "max-forwards", "to")
#: RFC 3261 §7.3.3 and the registrations after it.
COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_TOKEN = re.compile(r"^[A-Za-z0-9.!%*_+`'~-]{1,256}$")
_EMPTY_LINE = re.compile(r"\r?\n\r?\n")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)


class Defect(Enum):
    """Why a request is refused at the door: (status code, words). The name in lower case is the label."""

    TOO_LARGE = (513, "Message Too Large")
    TOO_MANY_HEADERS = (400, "Too Many Header Fields")
    HEADER_TOO_LONG = (400, "Header Field Too Long")
    MALFORMED_HEADER = (400, "Malformed Header Field")
    BAD_CONTENT_LENGTH = (400, "Bad Content-Length")
    NO_CONTENT_TYPE = (400, "Missing Content-Type")
    BAD_CONTENT_TYPE = (415, "Unsupported Media Type")
    EMPTY_MULTIPART = (400, "Empty Multipart Body")
    URI_TOO_LONG = (414, "Request-URI Too Long")
    BAD_URI = (400, "Bad Request-URI")
    UNSUPPORTED_SCHEME = (416, "Unsupported URI Scheme")
    BAD_VERSION = (505, "Version Not Supported")
    CSEQ_MISMATCH = (400, "CSeq Does Not Match")
    BAD_EXTENSION = (420, "Bad Extension")
    REPLACES = (603, "Decline")
    BAD_SDP = (488, "Not Acceptable Here")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def words(self) -> str:
        return self.value[1]

    @property
    def label(self) -> str:
        return self.name.lower()


class Refused(Exception):
    """A message that is not taken. detail: for the log and for a Warning header, without the peer's bytes."""

    def __init__(self, defect: Defect, detail: str = "") -> None:
        super().__init__(f"{defect.words}: {detail}" if detail else defect.words)
        self.defect = defect
        self.detail = detail


class Uri(Struct, frozen=True):
    """A SIP or SIPS URI (§19.1). user, parameters: unescaped; names in lower case; host without brackets."""

    scheme: str
    user: str
    host: str
    port: int = 0
    parameters: dict[str, str] = field(default_factory=dict)


class Message(Struct, frozen=True):
    """start: the start line. headers: (long name in lower case, unfolded value), in order."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def get(self, name: str) -> str | None:
        """The first value of a header, by its long name in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def told(self) -> dict[str, str]:
        """The headers as an event tells them: bounded, the last of a name wins."""
        kept = {name: value for name, value in self.headers if len(value) <= TOLD_LENGTH}
        return dict(list(kept.items())[:TOLD_HEADERS])


def printable(text: str) -> str:
    """Text that every encoder takes: bytes that were no UTF-8 (surrogates, from the stack) become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def split(raw: str) -> Message:
    """Cut a message into start line, headers and body. Raises Refused."""
    head, _, body = raw.replace("\r\n", "\n").lstrip("\n").partition("\n\n")
    start, _, rest = head.partition("\n")
    headers: list[tuple[str, str]] = []
    for line in rest.split("\n") if rest else []:
        if line[:1] in (" ", "\t"):  # §7.3.1: a folded line goes on
            if not headers:
                raise Refused(Defect.MALFORMED_HEADER)
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}".strip())
        else:
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not colon or not _TOKEN.match(name):
                raise Refused(Defect.MALFORMED_HEADER)
            headers.append((COMPACT.get(name, name), value.strip()))
        if len(headers) > MAX_HEADERS:
            raise Refused(Defect.TOO_MANY_HEADERS)
        if len(headers[-1][1]) > MAX_HEADER:
            raise Refused(Defect.HEADER_TOO_LONG, headers[-1][0])
    return Message(start, tuple(headers), body)


def inspect(raw: str, max_bytes: int) -> tuple[Message, str | None]:
    """A request's first verdict: (message, its SDP or None). Raises Refused with what is wrong with it.

    For INVITE and UPDATE the body is looked into. All that the history of SIP stacks shows to be dangerous is
    looked at here, so that the answer does not depend on how well the stack survives it.
    """
    size = len(raw.encode("utf-8", "surrogateescape"))
    if size > max_bytes:
        raise Refused(Defect.TOO_LARGE, f"{size} bytes")
    message = split(printable(raw))
    words = message.start.split(" ")
    if len(words) != 3:
        raise Refused(Defect.BAD_URI)
    if words[2].upper() != "SIP/2.0":
        raise Refused(Defect.BAD_VERSION)
    if len(words[1]) > MAX_URI:
        raise Refused(Defect.URI_TOO_LONG)
    if any(len(message.all(name)) > 1 for name in ONCE):
        raise Refused(Defect.MALFORMED_HEADER, "one that may stand there once does so twice")
    if (message.get("cseq") or "").split()[1:] != [words[0]]:  # §8.1.1.5
        raise Refused(Defect.CSEQ_MISMATCH)
    lengths = set(message.all("content-length"))
    # §7.4.2, §18.3: over UDP the rest of the datagram is the body, but two opinions of its length are an attack
    if len(lengths) > 1 or not all(value.isascii() and value.isdigit() and len(value) < 10 for value in lengths):
        raise Refused(Defect.BAD_CONTENT_LENGTH)
    if lengths:
        said, there = int(lengths.pop()), _body_octets(raw)
        if said > there or (there and not said):
            raise Refused(Defect.BAD_CONTENT_LENGTH, f"{said}, but the body has {there} octets")
    text = session_description(message) if words[0] in OFFERING else None
    if text is not None:
        try:
            refusal = negotiation.hopeless(sdp.parse(text))
        except SdpRefused as error:
            refusal = error.refusal
        if refusal:
            raise Refused(Defect.BAD_SDP, f"{refusal.label}: {refusal.value}")
    return message, text


def _body_octets(raw: str) -> int:
    text = raw.lstrip("\r\n")
    end = _EMPTY_LINE.search(text)
    return len(text[end.end() :].encode("utf-8", "surrogateescape")) if end else 0


def session_description(message: Message) -> str | None:
    """The SDP in a message's body, also inside a multipart one; None without any body. Raises Refused."""
    if not message.body.strip():
        return None
    content_type = message.get("content-type")
    if not content_type:
        raise Refused(Defect.NO_CONTENT_TYPE)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == SDP_TYPE:
        return message.body
    if kind.startswith("multipart/"):
        return _from_multipart(content_type, message.body)
    raise Refused(Defect.BAD_CONTENT_TYPE, kind[:40])


def sdp_of(raw: str) -> str | None:
    """The SDP of a message as it came, if it has one that we take."""
    try:
        return session_description(split(printable(raw))) if raw else None
    except Refused:
        return None


def value_of(raw: str, name: str) -> str:
    """The first value of a header of a message as it came, "" when there is none."""
    try:
        return split(printable(raw)).get(name) or "" if raw else ""
    except Refused:
        return ""


def besides(raw: str) -> dict[str, str]:
    """What a message says beside the standard: its X- headers and its Reason (RFC 3326)."""
    try:
        told = split(printable(raw)).told() if raw else {}
    except Refused:
        return {}
    return {name: value for name, value in told.items() if name.startswith("x-") or name == "reason"}


def _from_multipart(content_type: str, body: str) -> str | None:
    """RFC 2046 §5.1: the first part that is SDP."""
    found = _BOUNDARY.search(content_type)
    if not found:
        raise Refused(Defect.EMPTY_MULTIPART, "no boundary")
    delimiter = "\n--" + (found[1] or found[2])
    parts = ("\n" + body).split(delimiter)[1:]
    filled = [part for part in parts if part.strip(" \t\n-")]
    if not filled:
        raise Refused(Defect.EMPTY_MULTIPART)
    for part in filled:
        head, _, content = part.lstrip(" \t").removeprefix("\n").partition("\n\n")
        names = {name.strip().lower(): value.strip() for name, _, value in (h.partition(":") for h in head.split("\n"))}
        kind = (names.get("content-type") or names.get("c") or "").partition(";")[0].strip().lower()
        if kind == SDP_TYPE:
            if not content.strip():
                raise Refused(Defect.EMPTY_MULTIPART, "its SDP is empty")
            return content
    return None


def parse_uri(text: str) -> Uri:
    """Read a SIP URI, bare or inside `"name" <uri>;tag=x`. Raises ValueError saying what is wrong."""
    text = address_uri(text)
    if len(text) > MAX_URI:
        raise ValueError("the URI is too long")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in ("sip", "sips"):
        raise ValueError(f"{scheme[:10]!r} is no SIP scheme")
    rest = rest.partition("?")[0] if "@" not in rest.partition("?")[2] else rest
    userinfo, at, hostpart = rest.rpartition("@")
    hostpart = hostpart.partition("?")[0]
    if at and not userinfo:
        raise ValueError("an @ without a user")
    hostport, *parameters = hostpart.split(";")
    host, port = _host_port(hostport)
    found: dict[str, str] = {}
    for parameter in parameters[:32]:
        name, _, value = parameter.partition("=")
        if name:
            found.setdefault(unescape(name).lower(), unescape(value))
    # §19.1.1: the user part may carry parameters of its own (RFC 4904) and, long deprecated, a password
    return Uri(scheme, unescape(userinfo.partition(":")[0]), host, port, found)


def _host_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError("a malformed IPv6 reference")
        port = tail[1:]
    else:
        host, _, port = text.partition(":")
    if not host or not re.fullmatch(r"[A-Za-z0-9._:%-]{1,253}", host):
        raise ValueError("a malformed host")
    if not port:
        return host, 0
    if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError("a malformed port")
    return host, int(port)


def address_uri(text: str) -> str:
    """The URI of a From, To or Contact value: what stands in <>, else all before the first parameter."""
    text = text.strip()
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    if "<" in unquoted:
        return unquoted.partition("<")[2].partition(">")[0].strip()
    # §20: without brackets the parameters belong to the header, except that a bare Request-URI has its own
    return text


def without_parameters(text: str) -> str:
    """The URI of a name-addr or addr-spec header, header parameters (`;tag=`) removed."""
    uri = address_uri(text)
    return uri if "<" in text else uri.partition(";")[0]


def unescape(text: str) -> str:
    """Percent escapes of §19.1.2 as text; bytes that are no UTF-8, and control characters, become U+FFFD."""
    if "%" not in text:
        return text
    data = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text.encode("utf-8", "replace").decode("latin-1"))
    decoded = data.encode("latin-1").decode("utf-8", "replace")
    return "".join("\ufffd" if c < " " or c == "\x7f" else c for c in decoded)


def outgoing(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers of ours for a message, made safe: bad names are left out, values become one line."""
    return [(name, one_line(value)) for name, value in headers.items() if _TOKEN.match(name)]


def one_line(value: str, limit: int = TOLD_LENGTH) -> str:
    """Text that can not end its header line."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", printable(value)).strip()[:limit]


def reason(text: str, cause: int = 16) -> str:
    """A Reason header's value (RFC 3326): Q.850 with our words. A value that already is one passes."""
    text = one_line(text, 200)
    if re.match(r"^[A-Za-z0-9.-]+\s*;\s*cause\s*=\s*\d{1,3}\b", text):
        return text
    quoted = text.replace("\\", "").replace('"', "'")
    return f'Q.850;cause={cause};text="{quoted}"' if quoted else f"Q.850;cause={cause}"
