"""What crosses the border of the sip process: events out of it, commands into it.

A `dialog` is the sip process's own small integer for an INVITE dialog; it is unique for the life of
that process and never reused. SDP crosses as text: only `sdp.py` looks inside, and it runs in the
controller. Every struct is immutable data; nothing here opens a socket.
"""

from __future__ import annotations

from msgspec import Struct, field


class Event(Struct, frozen=True, tag=True):
    """From the sip process to the controller."""


class AgentReady(Event, frozen=True):
    """The user agent listens. `max_calls` is what the pjsua2 build can carry (4 with the PyPI wheel)."""

    listening: list[str]
    version: str
    max_calls: int
    fit_for_network: bool


class Invited(Event, frozen=True):
    """An INVITE outside a dialog. 100 has been sent; the controller owes `Ring`, `Accept` or `Reject`.

    headers: the request's header fields by lower-case name, long form (compact forms expanded), last
    one wins; at most 64 of at most 2 kB each. sdp: None for an INVITE without an offer. trunk: the name of the
    trunk that admitted it.
    """

    dialog: int
    sip_call_id: str
    transport: str
    source: str
    request_uri: str
    user: str
    uri_parameters: dict[str, str]
    from_uri: str
    to_uri: str
    headers: dict[str, str]
    sdp: str | None
    trunk: str = ""


class Acknowledged(Event, frozen=True):
    """ACK for our 200. sdp: the peer's answer when our 200 carried the offer, also within the dialog: then the
    peer had sent a re-INVITE without one, and our last SDP was offered again."""

    dialog: int
    sdp: str | None = None


class Reinvited(Event, frozen=True):
    """A re-INVITE or UPDATE with an offer (or None: asks for ours). Owed: `Accept` or `Reject`."""

    dialog: int
    sdp: str | None


class Updated(Event, frozen=True):
    """An UPDATE with an offer, already answered with `answer`: the stack gives no time to ask. Nothing owed."""

    dialog: int
    sdp: str
    answer: str


class Answered(Event, frozen=True):
    """Our outbound INVITE: a provisional (sdp may be early media) or the 200; or the final response to an `Offer`."""

    dialog: int
    code: int
    reason: str
    sdp: str | None = None


class Ended(Event, frozen=True):
    """The dialog is over, whoever ended it. cause: cancelled, bye, rejected, failed, local, timeout; or, of
    a call of ours that never went out, limited: its trunk takes no more.

    headers: the X- headers and the Reason of the message that ended it, names in lower case.
    """

    dialog: int
    cause: str
    code: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class InfoReceived(Event, frozen=True):
    """SIP INFO in the dialog, for DTMF relays."""

    dialog: int
    content_type: str
    body: str


class Referred(Event, frozen=True):
    """REFER in the dialog. taken: the trunk allows it, and the stack dials the target; `Transferred` may follow."""

    dialog: int
    target: str
    taken: bool = False


class Transferred(Event, frozen=True):
    """The dialog has another peer now: whom a REFER named has answered (RFC 3515). sdp: our offer to it, answer: its.

    answer "": there was none.
    """

    dialog: int
    sip_call_id: str
    sdp: str
    answer: str


class ReferProgress(Event, frozen=True):
    """How a `Refer` of ours goes: a status of the new call, or the refusal of the REFER itself. final: the last."""

    dialog: int
    code: int
    reason: str
    final: bool


class Stray(Event, frozen=True):
    """A BYE for a dialog that is not ours, answered 481: of a sip process before this one, it may be.

    source: its address.
    """

    sip_call_id: str
    source: str


class WireMessage(Struct, frozen=True):
    """A SIP message as it stood on the wire, without secrets. time_us: Unix µs. local, remote: `host:port`."""

    time_us: int
    sent: bool
    transport: str
    local: str
    remote: str
    text: str


class Traced(Event, frozen=True):
    """What is kept of a call's messages, the oldest first; the answer to `TraceWanted`."""

    request: int
    messages: list[WireMessage]


class CertificateTaken(Event, frozen=True):
    """The TLS transports show a certificate that ends at that time, or, with a problem, still the one before."""

    expires_unix: float = 0.0
    problem: str = ""


class RegistrationChanged(Event, frozen=True):
    """How our registration at a trunk's PBX stands. state: off, trying, registered, failed. code: the last one."""

    trunk: str
    state: str
    code: int = 0
    reason: str = ""
    expires_s: int = 0


class AgentCounters(Event, frozen=True):
    """Monotonic counters of this process, each second. Names and labels are bounded by the code."""

    counters: dict[str, int]
    dialogs: int


class Command(Struct, frozen=True, tag=True):
    """From the controller to the sip process."""


class Ring(Command, frozen=True):
    """Send a provisional."""

    dialog: int
    code: int = 180
    headers: dict[str, str] = field(default_factory=dict)
    sdp: str | None = None


class Accept(Command, frozen=True):
    """200 with this SDP (an answer, or our offer when theirs was missing)."""

    dialog: int
    sdp: str
    headers: dict[str, str] = field(default_factory=dict)


class Reject(Command, frozen=True):
    """A final response of 300 and above."""

    dialog: int
    code: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Hangup(Command, frozen=True):
    """BYE (or CANCEL, or a final response: what the dialog's state asks for) with a `Reason`."""

    dialog: int
    reason: str = ""


class Dial(Command, frozen=True):
    """Place an INVITE. `dialog` is negative and chosen by the controller, so that it can not collide.

    trunk: whose credentials and address serve, "" for none. from_uri, sip_call_id: "" for the stack's own.
    """

    dialog: int
    uri: str
    sdp: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: int = 60
    trunk: str = ""
    from_uri: str = ""
    sip_call_id: str = ""


class Offer(Command, frozen=True):
    """Re-INVITE with this SDP."""

    dialog: int
    sdp: str


class Refer(Command, frozen=True):
    """Blind transfer of the dialog's peer."""

    dialog: int
    target: str


class SetReadiness(Command, frozen=True):
    """What OPTIONS is answered: 200, or 503 with Retry-After. New INVITEs follow the controller's Reject."""

    ready: bool
    retry_after_s: int = 5


class TraceWanted(Command, frozen=True):
    """Answered by `Traced` with the same `request`."""

    request: int
    sip_call_id: str


class Reconfigure(Command, frozen=True):
    """A piece of the configuration that is in force from now on, as JSON; it is whole after the `last` piece."""

    piece: bytes
    last: bool = True


class Carried(Command, frozen=True):
    """How many calls of each trunk go on without a dialog, which they lost with a process before this one.

    They count towards the trunk's limit. Sent to a fresh process, and whenever one of them has ended.
    """

    calls: dict[str, int]


class Shutdown(Command, frozen=True):
    """End every dialog and stop; the process exits by itself."""


AnyEvent = (
    AgentReady
    | Invited
    | Acknowledged
    | Reinvited
    | Updated
    | Answered
    | Ended
    | InfoReceived
    | Referred
    | Transferred
    | ReferProgress
    | RegistrationChanged
    | AgentCounters
    | Stray
    | Traced
    | CertificateTaken
)
AnyCommand = (
    Ring
    | Accept
    | Reject
    | Hangup
    | Dial
    | Offer
    | Refer
    | SetReadiness
    | Shutdown
    | TraceWanted
    | Reconfigure
    | Carried
)
