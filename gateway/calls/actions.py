"""What a call wants done: the outputs of its state machine (`call.py`). Shapes only."""

from __future__ import annotations

from msgspec import Struct

from gateway.errors import GatewayError
from gateway.sip.negotiation import Settled


class Action(Struct, frozen=True):
    """Something to do, in the order in which the actions stand."""


class Ring(Action, frozen=True):
    """180."""


class Resolve(Action, frozen=True):
    """Ask the directory; owed: `Resolved` or `Refused`."""


class OpenLeg(Action, frozen=True):
    """Get a leg, on this port if it is not 0; owed: `LegOpened` or `LegRefused`."""

    port: int
    ipv6: bool = False


class Join(Action, frozen=True):
    """Become a member of the session; owed: `StreamReady` or `StreamOver`."""


class Dial(Action, frozen=True):
    """INVITE with this offer; owed: `Progressed`, then `Answered` or `PeerGone`."""

    sdp: str


class Progress(Action, frozen=True):
    """Whoever ordered the call is told: a status code, or why there will be no call."""

    code: int
    error: GatewayError | None = None


class Accept(Action, frozen=True):
    """200 with this SDP."""

    sdp: str


class Refuse(Action, frozen=True):
    """A final response to what was asked last. retry_after_s: with a Retry-After."""

    code: int
    reason: str
    retry_after_s: int | None = None


class Bye(Action, frozen=True):
    """BYE with a `Reason`."""

    reason: str


class Configure(Action, frozen=True):
    """Tell the real-time loop what the descriptions settled."""

    settled: Settled


class Attach(Action, frozen=True):
    """Let the leg's audio flow to the session and back. early: it was not answered yet, and has not joined."""

    early: bool = False


class Detach(Action, frozen=True):
    """The leg is gone for now; the membership stays."""


class TellHold(Action, frozen=True):
    """`call.held` or `call.resumed`."""

    held: bool


class Leave(Action, frozen=True):
    """Give up the membership, if there is one."""

    reason: str


class CloseLeg(Action, frozen=True):
    """Free the leg, or stop opening it."""


class WakeAt(Action, frozen=True):
    """A `Tick` is wanted at this time, besides the one each second."""

    time: float


class Over(Action, frozen=True):
    """Nothing more will come: write the record, forget the call."""
