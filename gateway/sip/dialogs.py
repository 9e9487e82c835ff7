"""What a command means for a dialog in its present state, as a table, and what its end is called.

Owns the state of each INVITE dialog as we see it. It refuses to know pjsua2 and sockets: `process.py` does
what an `Action` says and reports back what the stack did. A command that does not fit the state is
counted by its caller and otherwise ignored: the peer was faster, which is no fault.

    theirs   INVITED ──Accept──► ANSWERED ──ACK──► CONFIRMED ◄──answer── REOFFERED
                │                    │                │  └──re-INVITE────────►
    ours     DIALLING ───────200───────────────────►  │
                └───────────────── ENDED ◄────────────┘   (CANCEL, BYE, refusal, timeout: from anywhere)
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct, field

from gateway.sip import events


class State(Enum):
    INVITED = auto()  # their INVITE; no final response yet
    DIALLING = auto()  # our INVITE; no final response yet
    ANSWERED = auto()  # our 200 is out, its ACK not yet in
    CONFIRMED = auto()
    REOFFERED = auto()  # their re-INVITE waits for our answer
    ENDED = auto()


class Action(Enum):
    PROVISIONAL = auto()
    ANSWER = auto()
    REFUSE = auto()  # a final response of 300 or above to an INVITE or re-INVITE
    DECLINE = auto()  # the same for a hang-up before the answer: 480
    CLOSE = auto()  # BYE, or CANCEL of our INVITE: the stack knows which
    REOFFER = auto()
    TRANSFER = auto()


Kind = type[events.Command]

#: (state, command) → (what to do, the state after it). What is not here is too late or too early.
TABLE: Final[dict[tuple[State, Kind], tuple[Action, State]]] = {
    (State.INVITED, events.Ring): (Action.PROVISIONAL, State.INVITED),
    (State.INVITED, events.Accept): (Action.ANSWER, State.ANSWERED),
    (State.INVITED, events.Reject): (Action.REFUSE, State.INVITED),
    (State.INVITED, events.Hangup): (Action.DECLINE, State.INVITED),
    (State.DIALLING, events.Hangup): (Action.CLOSE, State.DIALLING),
    (State.ANSWERED, events.Hangup): (Action.CLOSE, State.ANSWERED),
    (State.CONFIRMED, events.Hangup): (Action.CLOSE, State.CONFIRMED),
    (State.CONFIRMED, events.Offer): (Action.REOFFER, State.CONFIRMED),
    (State.CONFIRMED, events.Refer): (Action.TRANSFER, State.CONFIRMED),
    (State.REOFFERED, events.Accept): (Action.ANSWER, State.CONFIRMED),
    (State.REOFFERED, events.Reject): (Action.REFUSE, State.CONFIRMED),
    (State.REOFFERED, events.Hangup): (Action.CLOSE, State.REOFFERED),
}

#: Codes that mean that somebody did not answer in time: of ours without ACK, of theirs without response.
TIMEOUT_CODES: Final = (408, 504)


class Dialog(Struct, eq=False):
    """One INVITE dialog. local_sdp: our last description; pending_sdp: ours that the stack is to send next.

    offered: their INVITE carried an offer. intent: why we end it, "" while we do not. told: the controller knows of
    it, so it must learn of its end. early: our answer went out with a provisional. sent: names of our headers that
    the stack repeats in each further response of the transaction. trunk: that admitted it, or that it goes out by.
    source: its peer's IP address. heir: made by a REFER in the dialog heir_of, 0 once that has ended.
    """

    id: int
    sip_call_id: str
    state: State
    offered: bool = True
    local_sdp: str = ""
    pending_sdp: str = ""
    intent: str = ""
    told: bool = False
    early: bool = False
    sent: set[str] = field(default_factory=set)
    trunk: str = ""
    source: str = ""
    heir: bool = False
    heir_of: int = 0

    def take(self, command: events.Command) -> Action | None:
        """What to do for a command, and enter the state after it; None when it does not fit."""
        step = TABLE.get((self.state, type(command)))
        if step is None:
            return None
        action, self.state = step
        if action in (Action.CLOSE, Action.DECLINE):
            self.intent = self.intent or "local"
        elif action is Action.REFUSE and self.state is State.INVITED:
            self.intent = "rejected"
        return action

    def answer(self, sdp: str, *, reoffered: bool = False, early: bool = False) -> str:
        """The description that a response carries, as the stack must be handed it now.

        "" when the offer is ours: the stack asks for it. "" also when the answer went out early: the 200 repeats
        it by itself and may not change it (RFC 3261 §13.2.1).
        """
        if not reoffered and (self.early or (early and not self.offered)):
            return ""
        self.pending_sdp = sdp
        if not self.offered and not reoffered:
            return ""
        self.early = early
        return self.describe()

    def describe(self) -> str:
        """Take the description that waits to be sent: it is ours from now on."""
        self.local_sdp, self.pending_sdp = self.pending_sdp or self.local_sdp, ""
        return self.local_sdp

    def fresh(self, headers: list[tuple[str, str]]) -> dict[str, str]:
        """Those headers that the responses so far did not carry."""
        new = {name: value for name, value in headers if name.lower() not in self.sent}
        self.sent.update(name.lower() for name in new)
        return new

    def end(self, code: int) -> str:
        """The dialog is over, with the stack's last status code: the name of the cause."""
        before, self.state = self.state, State.ENDED
        if self.intent:
            return self.intent
        if code in TIMEOUT_CODES:
            return "timeout"
        if before in (State.CONFIRMED, State.REOFFERED, State.ANSWERED):
            return "bye" if code < 300 else "failed"
        if before is State.INVITED and code == 487:  # RFC 3261 §9.2
            return "cancelled"
        return "failed"
