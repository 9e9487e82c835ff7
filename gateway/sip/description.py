"""What a session description says, as data: codecs, media sections, directions, keys, and the named refusals.

Owns the vocabulary that the text (`sdp.py`) and the offer/answer rules (`negotiation.py`) share. It
refuses to know either: nothing here parses, renders or decides.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from gateway.errors import Fault, PeerFault

#: Key and salt lengths together, in bytes, of the SDES suites that we speak (RFC 4568 §6.2, RFC 6188 §4).
SUITES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
}

#: The encoding name of RFC 4733; every other name is kept in upper case.
DTMF: Final = "telephone-event"

#: Static payload types (RFC 3551 §6) that matter to an audio leg: encoding name and clock rate.
STATIC: Final = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: ("CN", 8000),
    15: ("G728", 8000),
    18: ("G729", 8000),
}


class Refusal(Enum):
    """Why an SDP was refused. The name in lower case is the metric label, the value is told to the peer."""

    TOO_LONG = "the description is too long"
    TOO_MANY_LINES = "too many lines"
    LINE_TOO_LONG = "a line is too long"
    NOT_TEXT = "control characters in the text"
    BAD_LINE = "a line that is not type=value"
    BAD_VERSION = "v= is not 0"
    BAD_ORIGIN = "a malformed o= line"
    BAD_CONNECTION = "a malformed c= line"
    HOST_NAME = "a host name where an IP address is needed"
    MULTICAST = "a multicast or broadcast address"
    BAD_MEDIA = "a malformed m= line"
    TOO_MANY_MEDIA = "too many m= lines"
    TOO_MANY_FORMATS = "too many formats in an m= line"
    TOO_MANY_ATTRIBUTES = "too many attributes"
    BAD_PORT = "a port out of range"
    BAD_PAYLOAD_TYPE = "a payload type out of range"
    BAD_RTPMAP = "a malformed a=rtpmap"
    BAD_CLOCK_RATE = "a clock rate out of range"
    BAD_PTIME = "a packet time out of range"
    BAD_RTCP = "a malformed a=rtcp"
    BAD_CRYPTO = "a malformed a=crypto"
    NO_CONNECTION = "no c= line for a media section"
    # Found by the offer/answer rules
    NO_AUDIO = "no audio that we can take"
    NO_CODEC = "no codec in common"
    ADDRESS_FAMILY = "no address family in common"
    SRTP_REQUIRED = "SRTP is required here"
    SRTP_REFUSED = "SRTP is not enabled here"
    SRTP_NO_SUITE = "no SRTP crypto suite in common"
    ANSWER_MISMATCH = "the answer does not match the offer"

    @property
    def label(self) -> str:
        return self.name.lower()


class SdpRefused(PeerFault):
    """An SDP that is not taken. `refusal` names the reason, the message adds what stood there."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        fault = Fault.NO_COMMON_CODEC if refusal is Refusal.NO_CODEC else Fault.BAD_SDP
        super().__init__(fault, f"{refusal.value}: {detail[:80]!r}" if detail else refusal.value)
        self.refusal = refusal


class Direction(Enum):
    """Who sends, seen from the one whose SDP it stands in: (sends, receives)."""

    SENDRECV = (True, True)
    SENDONLY = (True, False)
    RECVONLY = (False, True)
    INACTIVE = (False, False)

    @property
    def sends(self) -> bool:
        return self.value[0]

    @property
    def receives(self) -> bool:
        return self.value[1]


DIRECTIONS: Final = {d.name.lower(): d for d in Direction}


class Codec(Struct, frozen=True):
    """One RTP format. name in upper case, but for `DTMF`; fmtp without the payload type."""

    payload_type: int
    name: str
    rate: int
    channels: int = 1
    fmtp: str = ""


class Crypto(Struct, frozen=True):
    """One `a=crypto` line (RFC 4568). key: key||salt. usable: we can do exactly what the line asks for.

    A line is not usable when its suite is unknown, when it wants an MKI or several keys, or when it
    carries a session parameter that may not be ignored; it is kept, because another one may be usable.
    """

    tag: int
    suite: str
    key: bytes
    usable: bool = True

    def __repr__(self) -> str:
        return f"Crypto(tag={self.tag}, suite={self.suite!r}, key hidden, usable={self.usable})"


class Media(Struct, frozen=True):
    """One m= section. address: its c= line or the session's. rtcp_port: from `a=rtcp`, 0 when absent.

    formats: as they stand in the m= line, for echoing; codecs: those of them that are RTP formats.
    no_rtcp: `b=RS:0` and `b=RR:0` (RFC 3556 §2). ptime, maxptime: ms, 0 when absent.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str
    codecs: tuple[Codec, ...] = ()
    direction: Direction = Direction.SENDRECV
    ptime: int = 0
    maxptime: int = 0
    rtcp_port: int = 0
    rtcp_address: str = ""
    rtcp_mux: bool = False
    no_rtcp: bool = False
    crypto: tuple[Crypto, ...] = ()

    @property
    def held(self) -> bool:
        """The old way to hold, `c=0.0.0.0` (RFC 3264 §8.4), or its IPv6 sibling."""
        return self.address in ("0.0.0.0", "::")


class Session(Struct, frozen=True):
    """A session description. session_id, version, address: of the o= line."""

    session_id: int
    version: int
    address: str
    media: tuple[Media, ...]
    user: str = "-"
