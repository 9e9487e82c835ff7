"""The SDP side of one leg: answers, offers and what they mean for the real-time loop. Sans-IO.

Owns the leg's terms through the life of its dialog: address, port, codecs, the `o=` line's version and the
direction, so that a re-INVITE is answered on the same port with the next version (RFC 3264 §8). Refuses to
know why an SDP came and to whom the result goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.errors import Fault, PeerFault
from gateway.sip import negotiation, sdp
from gateway.sip.description import Session
from gateway.sip.negotiation import Settled, Terms
from rtp.control import ConfigureLeg, Srtp
from rtp.engine import Leg

#: A port for trying an offer before the leg has one: "discard", which nobody is ever told.
_TRIAL_PORT: Final = 9


class LegMedia:
    """One leg's descriptions. address: what the peer is told to send to. session_id: for the o= line.

    key: `KEY_BYTES` random bytes for SRTP, unless that is disabled.
    """

    def __init__(
        self, address: str, codecs: Sequence[str], session_id: int, *, srtp: str = "disabled", key: bytes = b""
    ) -> None:
        self._address = address
        self._codecs = tuple(codecs)
        self._session_id = session_id
        self._srtp = srtp
        self._key = key
        self._port = _TRIAL_PORT
        self._version = 0
        self._said = ""  # our last description
        self._offered: str | None = None
        self._tried: tuple[str, Session] | None = None  # an offer that will be answered, once read

    def try_offer(self, text: str) -> None:
        """Whether an offer could be answered at all. Raises SdpRefused. Nothing is settled by it."""
        offer = sdp.parse(text)
        negotiation.answer(offer, self._terms(1))
        self._tried = text, offer

    @property
    def ipv6(self) -> bool:
        """Whether the peer is told an IPv6 address, and has to have one."""
        return ":" in self._address

    def use_port(self, port: int) -> None:
        """The port that the leg was given."""
        self._port = port

    def answer(self, text: str) -> Settled:
        """Answer the peer's offer. Raises SdpRefused; then everything stays as it was."""
        tried, self._tried = self._tried, None
        offer = tried[1] if tried is not None and tried[0] == text else sdp.parse(text)
        if self._version:
            again = negotiation.answer(offer, self._terms(self._version))
            if again.sdp == self._said:  # a refresh: what is the same keeps its version (RFC 3264 §8)
                return again
        settled = negotiation.answer(offer, self._terms(self._version + 1))
        self._version += 1
        self._said = settled.sdp
        return settled

    def offer(self) -> str:
        """Our offer, for an INVITE that brought none; `accept` takes the answer."""
        self._version += 1
        self._said = self._offered = negotiation.offer(self._terms(self._version))
        return self._offered

    def preview(self, text: str) -> Settled:
        """The peer's answer to our `offer` as it stands now; another may follow. Raises SdpRefused."""
        if self._offered is None:
            raise PeerFault(Fault.BAD_SDP, "an answer without an offer")
        return negotiation.evaluate(sdp.parse(self._offered), sdp.parse(text), self._srtp)

    def accept(self, text: str) -> Settled:
        """The peer's answer to our `offer`, the last one. Raises SdpRefused."""
        try:
            return self.preview(text)
        finally:
            self._offered = None

    def answered(self, offer: str, answer: str) -> Settled:
        """An offer that was answered on our behalf meanwhile (UPDATE). Raises SdpRefused."""
        ours, theirs = sdp.parse(answer), sdp.parse(offer)
        self._version = max(self._version, ours.version)
        self._said = answer
        for mine, media in zip(ours.media, theirs.media, strict=False):
            if mine.port:
                return negotiation.settle(mine, media, answer)
        raise PeerFault(Fault.BAD_SDP, "an answer without audio")

    def moved(self, offer: str, answer: str) -> Settled:
        """Somebody else's answer to an offer that was made on our behalf (REFER). Raises SdpRefused."""
        ours = sdp.parse(offer)
        self._version = max(self._version, ours.version)
        self._said = offer
        return negotiation.evaluate(ours, sdp.parse(answer), self._srtp)

    def _terms(self, version: int) -> Terms:
        return Terms(
            address=self._address,
            port=self._port,
            codecs=self._codecs,
            srtp=self._srtp,
            key=self._key,
            session_id=self._session_id,
            version=version,
        )


def configure(leg: Leg, settled: Settled, symmetric: str, cname: str) -> ConfigureLeg:
    """What the real-time loop must be told for these descriptions to come true."""
    keys = settled.keys
    return ConfigureLeg(
        row=leg.row,
        generation=leg.generation,
        remote_address=settled.remote_address,
        remote_port=settled.remote_port,
        rtcp_address=settled.rtcp_address,
        rtcp_port=settled.rtcp_port,
        payload_type=settled.payload_type,
        codec=settled.codec,
        accept=settled.accept,
        dtmf_type=settled.dtmf_type,
        cn_type=settled.cn_type,
        ptime_ms=settled.ptime_ms,
        send=settled.send,
        receive=settled.receive,
        symmetric=symmetric,
        srtp=None if keys is None else Srtp(keys.suite, keys.receive_key, keys.send_key),
        cname=cname,
    )
