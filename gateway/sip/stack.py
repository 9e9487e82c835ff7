"""The border between our side of the sip process and the SIP stack: types only.

`process.py` speaks to these, `agent.py` makes them true with pjsua2, and the tests of `process.py` with a
stack of their own. It refuses to know either.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct, field

from gateway.sip.dialogs import Dialog


class StackError(Exception):
    """The stack did not do what it was told; the message is the stack's own."""


class Phase(Enum):
    """How far the stack's INVITE session has come."""

    EARLY = auto()  # a provisional response, of theirs or ours
    ACCEPTED = auto()  # the 200, its ACK not yet
    CONFIRMED = auto()
    OVER = auto()


class Progress(Struct, frozen=True):
    """A change of the stack's session. code, reason: the last status. raw: the message behind it, or ""."""

    phase: Phase
    code: int
    reason: str
    raw: str = ""


class Request(Struct, frozen=True):
    """A request at the door, no retransmission, before the stack has anything for it.

    source: IP address. claims_dialog: it has a To tag; in_dialog: the dialog is one of ours.
    """

    method: str
    source: str
    port: int
    transport: str
    claims_dialog: bool
    in_dialog: bool
    raw: str


class Verdict(Struct, frozen=True):
    """What becomes of a request: LET_IN, DROP, or answered at once with a status code, without state.

    account: as whom an INVITE that is let in is taken, by name: its trunk. challenges: a WWW-Authenticate for each.
    """

    code: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    account: str = ""
    challenges: tuple[str, ...] = ()


LET_IN = Verdict(0)
DROP = Verdict(-1)


class Bind(Struct, frozen=True):
    """A transport that listens. advertise: the host that Contact and Via show, "" for the bound one."""

    transport: str
    host: str
    port: int
    advertise: str = ""


class TlsOptions(Struct, frozen=True):
    """Files in PEM form, "" for none, and as whom we take peers: client_certificates off, optional, required."""

    certificate: str
    key: str
    ca_file: str = ""
    client_certificates: str = "off"
    minimum: str = "tls1.2"


class Timer(Struct, frozen=True):
    """Session timers (RFC 4028). mode: off, optional, required."""

    mode: str = "optional"
    expires_s: int = 1800
    min_se_s: int = 90


class Account(Struct, frozen=True):
    """As whom we are: towards a trunk, or ("" as name) towards everybody else.

    uri: ours, in From. registrar: the URI to REGISTER at, "" for nowhere; contact_user: what it is to call us by.
    expires_s: of the registration. prack: we may be asked for reliable provisional responses (RFC 3262).
    """

    name: str
    uri: str
    username: str = ""
    password: str = ""
    registrar: str = ""
    contact_user: str = ""
    transport: str = "udp"
    expires_s: int = 300
    timer: Timer = Timer()
    prack: bool = True

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.uri!r}, secrets hidden)"


class StackOptions(Struct, frozen=True):
    """advertise: what our own URI shows, "" for the first bind. tls: None when no bind wants it.

    keepalive_s: of TCP and TLS connections, 0 for none. tapped: messages are told as they pass (`Listener.wired`).
    accounts: the nameless one first; none: that one alone.
    """

    binds: tuple[Bind, ...]
    advertise: str
    max_calls: int
    tls: TlsOptions | None = None
    keepalive_s: int = 0
    tapped: bool = False
    accounts: tuple[Account, ...] = ()


class Wire(Struct, frozen=True):
    """A message as it stood on the wire, retransmissions included. local, remote: host and port."""

    sent: bool
    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    call_id: str
    raw: str


class Placement(Struct, frozen=True):
    """An INVITE of ours. account: by name. from_uri, sip_call_id: "" for the account's, and for the stack's own."""

    uri: str
    headers: dict[str, str]
    account: str = ""
    from_uri: str = ""
    sip_call_id: str = ""


class Listening(Struct, frozen=True):
    """What the stack says once it runs. built_calls: the most calls that its build can carry.

    gated: requests are asked about at the door (`Listener.asked`); without it OPTIONS is always 200.
    """

    addresses: list[str]
    version: str
    built_calls: int
    gated: bool


class StackCall(Protocol):
    """One call of the stack's. Every method may raise StackError."""

    dialog: Dialog
    deadline_s: float

    def respond(self, code: int, reason: str = "", headers: dict[str, str] | None = None, sdp: str = "") -> None:
        """A response to the INVITE or re-INVITE that waits for one."""

    def close(self, headers: dict[str, str]) -> None:
        """CANCEL or BYE, whichever the session's state asks for."""

    def reoffer(self) -> None:
        """A re-INVITE; the stack asks for its SDP (`Listener.description`)."""

    def transfer(self, target: str) -> None:
        """REFER."""

    def request(self, method: str, headers: dict[str, str], content_type: str = "", body: str = "") -> None:
        """A request within the dialog; `Listener.heard` tells the response."""


class Stack(Protocol):
    def start(self, options: StackOptions) -> Listening:
        """Bind and listen. Raises StackError."""

    def descriptors(self) -> set[int]:
        """What becomes readable when the stack has something to do; empty when it must be polled."""

    def poll(self, timeout_ms: int) -> None:
        """Let the stack work: its callbacks reach the listener from within."""

    def dial(self, dialog: Dialog, order: Placement) -> StackCall:
        """Send an INVITE; the stack asks for its SDP. Raises StackError."""

    def account(self, ours: Account) -> None:
        """A new account, or another form of the one of that name. Calls that run keep the terms that they began on.

        A registration that the other form has no use for is forgotten without a word. Raises StackError.
        """

    def dismiss(self, account: str) -> None:
        """No new call is made or taken as that account; it goes with its last one."""

    def register(self, account: str, active: bool) -> None:
        """REGISTER, or its opposite; `Listener.registered` tells what came of it. Raises StackError."""

    def named(self, name: str, addresses: list[str], good_s: int) -> None:
        """What is known of a host's name, for so many seconds; no addresses: nothing. What waits for it goes on."""

    def secure(self, tls: TlsOptions) -> None:
        """Show another certificate to connections from now on; those that there are stay. Raises StackError."""

    def stop(self) -> None:
        """Leave the network at once."""


class Listener(Protocol):
    """What the stack tells. Called from within `poll`, `respond` and `dial`: note it, and return soon."""

    def asked(self, request: Request) -> Verdict:
        """A request at the door."""

    def invited(self, call: StackCall, raw: str, source: str) -> None: ...

    def progressed(self, call: StackCall, progress: Progress) -> None: ...

    def description(self, call: StackCall, answering: bool) -> str:
        """The SDP to send where the stack would write its own; "" to leave the stack's."""

    def reinvited(self, call: StackCall, raw: str) -> bool:
        """A re-INVITE with an offer. True: `respond` will follow; False: the stack refuses it with 488."""

    def updated(self, call: StackCall, offer: str) -> bool:
        """An UPDATE with an offer. True: take `description` for the answer; False: 488."""

    def heard(self, call: StackCall, raw: str) -> None:
        """A message within the call's dialog, of a request or of a response to one of ours."""

    def referred(self, call: StackCall, target: str, place: Callable[[Dialog], StackCall]) -> bool:
        """A REFER. True: dial the target, as the call that `place` has made; False: decline."""

    def transferred(self, call: StackCall, code: int, reason: str, final: bool) -> None:
        """How a REFER of ours goes."""

    def wired(self, wire: Wire) -> None:
        """A message was received, or is sent now; only when `StackOptions.tapped`."""

    def wanted(self, name: str) -> None:
        """A host's name is not known: `Stack.named` is owed, after this poll."""

    def registered(self, account: str, code: int, reason: str, expires_s: int) -> None:
        """A REGISTER was answered, or given up (code 408 or 503). expires_s: as granted."""

    def logged(self, level: int, text: str) -> None:
        """A line of the stack's log; 1 is an error, 2 a warning."""

    def faulted(self, where: str, error: Exception) -> None:
        """A listener method raised: a defect of ours that must not unwind through the stack."""
