"""Offer and answer (RFC 3264) for one G.711 leg, with SDES keys (RFC 4568).

Owns which section of an offer is taken, which codec, direction and key, and what both SDPs together
mean for the media (`Settled`). It refuses to know the text (`sdp.py`), who asks, and how keys and ports
come into being: the caller brings them in `Terms`, so that every function here is pure.

Theory of operation: an answer is built by choosing one section of the offer and writing its mirror
image; every other section stays in place with port 0 (§6). `settle` then reads the pair, ours and
theirs, and it alone decides what the media will do, whoever of the two offered.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import msgspec
from msgspec import Struct, field

from gateway.sip import sdp
from gateway.sip.description import (
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

#: The static numbers of what we speak (RFC 3551 §6).
G711: Final = {"PCMU": 0, "PCMA": 8}
CLOCK_RATE: Final = 8000
#: What an offer of ours calls telephone-event; 101 is what the field expects.
DTMF_TYPE: Final = 101
CN_TYPE: Final = 13
DTMF_EVENTS: Final = "0-15"
#: Enough random bytes for the longest key of any suite.
KEY_BYTES: Final = max(SUITES.values())
#: Suites in the order in which an offer of ours names them.
PREFERRED_SUITES: Final = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80")
FRAME_MS: Final = 20
PLAIN, SECURE = "RTP/AVP", "RTP/SAVP"


class Terms(Struct, frozen=True):
    """What we bring to a negotiation.

    address, port: where we receive RTP (RTCP on the next port). codecs: in order of preference. srtp:
    disabled, optional, mandatory; key: `KEY_BYTES` random bytes of the caller's unless it is disabled;
    keep it for the life of the leg, so that a re-answer does not change keys. session_id, version: for
    the o= line, the version one higher for each new SDP of the dialog (RFC 3264 §8).
    """

    address: str
    port: int
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    srtp: str = "disabled"
    key: bytes = b""
    direction: Direction = Direction.SENDRECV
    session_id: int = 1
    version: int = 1
    dtmf: bool = True
    comfort_noise: bool = True

    def __repr__(self) -> str:
        return f"Terms({self.address}:{self.port}, {self.codecs}, srtp={self.srtp!r}, key hidden)"


class Keys(Struct, frozen=True):
    """The SDES keys of both directions, key||salt."""

    suite: str
    receive_key: bytes
    send_key: bytes

    def __repr__(self) -> str:
        return f"Keys(suite={self.suite!r}, keys hidden)"


class Settled(Struct, frozen=True):
    """What the pair of SDPs means for the leg: all that the media engine must be told.

    sdp: our text (empty when only the peer's was new). rtcp_port: 0 on the RTP port (rtcp-mux), -1 none.
    payload_type, codec: what we send. accept: payload types that may arrive, by codec name. dtmf_type,
    cn_type: -1 when not negotiated. ptime_ms: what we send. send, receive: our side. held: the peer does
    not want our audio.
    """

    sdp: str
    remote_address: str
    remote_port: int
    rtcp_address: str
    rtcp_port: int
    payload_type: int
    codec: str
    accept: dict[int, str] = field(default_factory=dict)
    dtmf_type: int = -1
    cn_type: int = -1
    ptime_ms: int = FRAME_MS
    send: bool = True
    receive: bool = True
    held: bool = False
    keys: Keys | None = None


def answer(offer: Session, terms: Terms) -> Settled:
    """Answer an offer. Raises SdpRefused when no section of it can be taken."""
    index = _choose_section(offer, terms)
    theirs = offer.media[index]
    ours = _mirror(theirs, terms)
    sections = tuple(ours if position == index else sdp.rejected(media) for position, media in enumerate(offer.media))
    text = sdp.render(Session(terms.session_id, terms.version, terms.address, sections))
    return settle(ours, theirs, text)


def offer(terms: Terms) -> str:
    """Our offer, for an outbound call, a delayed offer or a re-INVITE, as text."""
    codecs = [Codec(G711[name], name, CLOCK_RATE) for name in terms.codecs]
    if terms.comfort_noise:
        codecs.append(Codec(CN_TYPE, "CN", CLOCK_RATE))
    if terms.dtmf:
        codecs.append(Codec(DTMF_TYPE, DTMF, CLOCK_RATE, fmtp=DTMF_EVENTS))
    crypto: tuple[Crypto, ...] = ()
    if terms.srtp != "disabled":
        crypto = tuple(Crypto(tag, suite, _key(terms, suite)) for tag, suite in enumerate(PREFERRED_SUITES, 1))
    # Optional SRTP is offered as keys in RTP/AVP: a peer that knows no SRTP ignores them, where it would
    # refuse RTP/SAVP (RFC 4568 does not foresee it, Asterisk and FreeSWITCH do it and understand it).
    media = Media(
        kind="audio",
        port=terms.port,
        protocol=SECURE if terms.srtp == "mandatory" else PLAIN,
        formats=tuple(str(codec.payload_type) for codec in codecs),
        address=terms.address,
        codecs=tuple(codecs),
        direction=terms.direction,
        ptime=FRAME_MS,
        rtcp_mux=True,
        crypto=crypto,
    )
    return sdp.render(Session(terms.session_id, terms.version, terms.address, (media,)))


def evaluate(ours: Session, theirs: Session, srtp: str = "disabled") -> Settled:
    """Read the peer's answer to our offer. Raises SdpRefused when it is no answer to it or has no audio."""
    if len(theirs.media) != len(ours.media):
        raise SdpRefused(Refusal.ANSWER_MISMATCH, f"{len(theirs.media)} m= lines for {len(ours.media)}")
    for mine, media in zip(ours.media, theirs.media, strict=True):
        if mine.port == 0 or media.port == 0:
            continue
        if media.kind != mine.kind or media.protocol != mine.protocol:
            raise SdpRefused(Refusal.ANSWER_MISMATCH, f"{media.kind} {media.protocol}")
        if not _same_family(media.address, mine.address):
            raise SdpRefused(Refusal.ADDRESS_FAMILY, media.address)
        settled = settle(mine, media)
        if settled.keys is None and (srtp == "mandatory" or mine.protocol == SECURE):
            raise SdpRefused(Refusal.SRTP_REQUIRED)
        return settled
    raise SdpRefused(Refusal.NO_AUDIO)


def reanswer(previous: Session, theirs: Session) -> Settled:
    """Answer a new offer on the terms of our last SDP: same address, port, codecs and key.

    For an UPDATE, which the stack wants answered before anybody can be asked. Raises SdpRefused.
    """
    return answer(theirs, _same_terms(previous))


def reoffer(previous: Session, key: bytes) -> str:
    """Offer to somebody else what our last SDP says: same address, port and codecs, but a key of its own.

    For whom a call is transferred to. Raises SdpRefused.
    """
    terms = _same_terms(previous)
    return offer(msgspec.structs.replace(terms, key=key if terms.srtp != "disabled" else b""))


def _same_terms(previous: Session) -> Terms:
    mine = next((media for media in previous.media if media.port), None)
    if mine is None:
        raise SdpRefused(Refusal.NO_AUDIO)
    key = max((crypto.key for crypto in mine.crypto), key=len, default=b"")
    spoken = tuple(codec.name for codec in mine.codecs if codec.name in G711)
    return Terms(
        address=mine.address,
        port=mine.port,
        codecs=spoken + tuple(name for name in G711 if name not in spoken),
        srtp=("mandatory" if mine.protocol == SECURE else "optional") if key else "disabled",
        key=key,
        session_id=previous.session_id,
        version=previous.version + 1,
    )


def hopeless(offer: Session) -> Refusal | None:
    """Why no terms of ours at all could take this offer; None when some might."""
    reasons = []
    for media in offer.media:
        anything = Terms(media.address, 1, tuple(G711), "optional" if media.protocol == SECURE else "disabled")
        reason = _why_not(media, anything)
        if reason is None:
            return None
        reasons.append(reason)
    return _most_telling(reasons)


def settle(ours: Media, theirs: Media, text: str = "") -> Settled:
    """What our section and theirs mean together. Raises SdpRefused when they share no codec or no key."""
    my_names = {codec.name: codec for codec in ours.codecs if codec.rate == CLOCK_RATE}
    shared = [codec for codec in theirs.codecs if codec.name in G711 and codec.rate == CLOCK_RATE]
    # §7: the offerer sends the first format of the answer; an answer of ours has one
    spoken = next((codec for codec in shared if codec.name in my_names), None)
    if spoken is None:
        raise SdpRefused(Refusal.NO_CODEC, " ".join(theirs.formats))
    # RFC 3264 §6.1: one receives what one's own SDP names. We decode both laws, so a peer that goes on
    # with the other one that it had named is understood, whatever we preferred.
    accept = {codec.payload_type: codec.name for codec in shared}
    accept |= {codec.payload_type: codec.name for codec in ours.codecs if codec.name in G711}
    dtmf = next((c for c in theirs.codecs if c.name == DTMF and c.rate == CLOCK_RATE), None)
    noise = next((c for c in theirs.codecs if c.name == "CN" and c.rate == CLOCK_RATE), None)
    # What comes beside speech has the number that either of us named; one of a law stays the law's.
    beside = [extra for extra in (dtmf, noise) if extra and extra.name in my_names]
    extras = {codec.payload_type: codec.name for codec in (*beside, *(my_names[extra.name] for extra in beside))}
    rtcp_address, rtcp_port = _rtcp(ours, theirs)
    return Settled(
        sdp=text,
        remote_address=theirs.address,
        remote_port=theirs.port,
        rtcp_address=rtcp_address,
        rtcp_port=rtcp_port,
        payload_type=spoken.payload_type,
        codec=spoken.name,
        accept=extras | accept,
        dtmf_type=dtmf.payload_type if dtmf and DTMF in my_names else -1,
        cn_type=noise.payload_type if noise and "CN" in my_names else -1,
        ptime_ms=_ptime(theirs),
        send=ours.direction.sends and theirs.direction.receives and not theirs.held,
        receive=ours.direction.receives and theirs.direction.sends,
        held=theirs.held or not theirs.direction.receives,
        keys=_keys(ours, theirs),
    )


def _choose_section(offer: Session, terms: Terms) -> int:
    """The section to take: secure before plain when SRTP is not disabled, else in the order of the offer."""
    usable: list[tuple[bool, int]] = []
    reasons: list[Refusal] = []
    for index, media in enumerate(offer.media):
        refusal = _why_not(media, terms)
        if refusal is None:
            usable.append((media.protocol != SECURE, index))
        else:
            reasons.append(refusal)
    if usable:
        return min(usable)[1]
    raise SdpRefused(_most_telling(reasons))


def _most_telling(reasons: list[Refusal]) -> Refusal:
    """Anything says more than "there was a video, too"."""
    return next((reason for reason in reasons if reason is not Refusal.NO_AUDIO), Refusal.NO_AUDIO)


def _why_not(media: Media, terms: Terms) -> Refusal | None:
    if media.kind != "audio" or media.port == 0 or media.protocol not in (PLAIN, SECURE):
        return Refusal.NO_AUDIO
    if not _same_family(media.address, terms.address):
        return Refusal.ADDRESS_FAMILY
    if not any(codec.name in terms.codecs and codec.rate == CLOCK_RATE for codec in media.codecs):
        return Refusal.NO_CODEC
    has_key = any(crypto.usable for crypto in media.crypto)
    if media.protocol == SECURE:
        if terms.srtp == "disabled":
            return Refusal.SRTP_REFUSED
        return None if has_key else Refusal.SRTP_NO_SUITE
    return Refusal.SRTP_REQUIRED if terms.srtp == "mandatory" and not has_key else None


def _mirror(theirs: Media, terms: Terms) -> Media:
    """Our section for theirs: our first codec that they name, under their numbers (RFC 3264 §6.1)."""
    by_name: dict[str, Codec] = {}
    for codec in theirs.codecs:
        if codec.rate == CLOCK_RATE:
            by_name.setdefault(codec.name, codec)
    name = next(name for name in terms.codecs if name in by_name)
    codecs = [Codec(by_name[name].payload_type, name, CLOCK_RATE)]
    if terms.comfort_noise and "CN" in by_name:
        codecs.append(Codec(by_name["CN"].payload_type, "CN", CLOCK_RATE))
    if terms.dtmf and DTMF in by_name:
        codecs.append(Codec(by_name[DTMF].payload_type, DTMF, CLOCK_RATE, fmtp=DTMF_EVENTS))
    chosen = next((crypto for crypto in theirs.crypto if crypto.usable), None)
    crypto: tuple[Crypto, ...] = ()
    if chosen and terms.srtp != "disabled":
        crypto = (Crypto(chosen.tag, chosen.suite, _key(terms, chosen.suite)),)
    return Media(
        kind=theirs.kind,
        port=terms.port,
        protocol=theirs.protocol,
        formats=tuple(str(codec.payload_type) for codec in codecs),
        address=terms.address,
        codecs=tuple(codecs),
        direction=_direction(theirs, terms.direction),
        ptime=_ptime(theirs),
        maxptime=0,
        rtcp_mux=theirs.rtcp_mux,
        no_rtcp=theirs.no_rtcp,
        crypto=crypto,
    )


def _direction(theirs: Media, wanted: Direction) -> Direction:
    """RFC 3264 §6.1: we send only what they receive; a null address receives nothing (§8.4)."""
    sends = wanted.sends and theirs.direction.receives and not theirs.held
    return Direction((sends, wanted.receives and theirs.direction.sends))


def _ptime(theirs: Media) -> int:
    """20 ms, unless the peer can not take so much (RFC 8866 §6.4: maxptime)."""
    return min(FRAME_MS, theirs.maxptime) if theirs.maxptime else FRAME_MS


def _rtcp(ours: Media, theirs: Media) -> tuple[str, int]:
    if ours.no_rtcp or theirs.no_rtcp:  # RFC 3556 §2
        return theirs.address, -1
    if ours.rtcp_mux and theirs.rtcp_mux:  # RFC 5761 §5.1.1
        return theirs.address, 0
    if theirs.rtcp_port:  # RFC 3605
        return theirs.rtcp_address or theirs.address, theirs.rtcp_port
    # RFC 3550 §11: the next port; there is none after the last
    return theirs.address, theirs.port + 1 if theirs.port < 65535 else -1


def _keys(ours: Media, theirs: Media) -> Keys | None:
    """RFC 4568 §5.1: an answer repeats the tag of one line of the offer; each side sends with its own key."""
    if not ours.crypto or not theirs.crypto:
        if SECURE in (ours.protocol, theirs.protocol):
            raise SdpRefused(Refusal.SRTP_NO_SUITE)
        return None
    mine = {(crypto.tag, crypto.suite): crypto for crypto in ours.crypto if crypto.usable}
    for crypto in theirs.crypto:
        if crypto.usable and (pair := mine.get((crypto.tag, crypto.suite))):
            return Keys(crypto.suite, receive_key=crypto.key, send_key=pair.key)
    raise SdpRefused(Refusal.SRTP_NO_SUITE)


def _key(terms: Terms, suite: str) -> bytes:
    length = SUITES[suite]
    if len(terms.key) < length:
        raise ValueError(f"a key for {suite} needs {length} bytes, Terms.key has {len(terms.key)}")
    return terms.key[:length]


def _same_family(a: str, b: str) -> bool:
    return ipaddress.ip_address(a).version == ipaddress.ip_address(b).version


assert all(STATIC[number][0] == name for name, number in G711.items())
