"""What happens to a call: the inputs of its state machine (`call.py`). Shapes only."""

from __future__ import annotations

from msgspec import Struct

from gateway.errors import Fault, GatewayError


class Input(Struct, frozen=True):
    """Something has happened."""


class Resolved(Input, frozen=True):
    """The directory knows the session, or has created it."""

    session_id: str


class Refused(Input, frozen=True):
    """The directory does not, or does not answer."""

    error: GatewayError


class LegOpened(Input, frozen=True):
    """The rtp process has a leg for us."""

    port: int


class LegRefused(Input, frozen=True):
    """It has not. reason: capacity, ports, lost."""

    reason: str


class LegClosed(Input, frozen=True):
    """The leg's last statistics have come."""


class MediaLost(Input, frozen=True):
    """The rtp process is gone, and every leg with it."""


class StreamReady(Input, frozen=True):
    """`session.ready`, and our name in the session."""

    speaker: str


class StreamOver(Input, frozen=True):
    """The session's stream is over for good. fault: of a refusal; reason: a value of `labels.END_REASONS`."""

    fault: Fault | None
    reason: str
    detail: str


class Tick(Input, frozen=True):
    """Time has passed. last_packet: when the leg last accepted RTP, 0: never; None: nobody looked."""

    last_packet: float | None = None


class PeerGone(Input, frozen=True):
    """The dialog is over: `gateway.sip.events.Ended`. code, reason: the last status."""

    cause: str
    code: int = 0
    reason: str = ""


class Progressed(Input, frozen=True):
    """A provisional response to our INVITE; sdp: of early media."""

    code: int
    sdp: str | None


class Answered(Input, frozen=True):
    """The 200 to our INVITE. sdp: None when a provisional response had it."""

    sdp: str | None


class Acknowledged(Input, frozen=True):
    """ACK; with the answer when our 200 carried the offer."""

    sdp: str | None


class Reinvited(Input, frozen=True):
    """A re-INVITE; an answer is owed. sdp None: it asks for our offer."""

    sdp: str | None


class Updated(Input, frozen=True):
    """An UPDATE that has been answered already."""

    sdp: str
    answer: str


class Moved(Input, frozen=True):
    """The peer has transferred the call: somebody else answered `offer`, a description of ours, with `answer`."""

    offer: str
    answer: str


class HangUp(Input, frozen=True):
    """Somebody on our side wants the call to end. reason: a value of `labels.END_REASONS`."""

    reason: str
    detail: str


class SipLost(Input, frozen=True):
    """The sip process is gone, and the dialog with it."""
