"""What happens within dialogs: the stack's news of each, put into words for the controller.

Owns the table of calls, which of them waits for the answer to an offer of ours, and the REFER of a peer. Refuses to
know the door, the loop and the controller's commands (`process.py`).

A REFER that is accepted makes the stack dial (RFC 3515); it tells the one who asked how that goes. The new dialog is
the heir of the old one: once it is answered it takes over the old one's number, so that to the controller it is the
same call, whose peer has another address. If the old dialog ends first, which some send right after the 202, the heir
has the number already while it rings, and the call ends only if nobody answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.sip import events, headers, negotiation, sdp
from gateway.sip.description import SdpRefused
from gateway.sip.dialogs import Dialog, State
from gateway.sip.headers import Refused
from gateway.sip.ledger import Ledger
from gateway.sip.stack import Phase, Progress, StackCall

#: How long the one who transferred a call has to hang up his own before we do.
LEAVE_S: Final = 5.0
#: How long whom a call is transferred to may ring.
REFER_RING_S: Final = 60.0


class Within:
    """tell: an event for the controller. refers: whether a trunk may transfer our calls. key: random bytes for SRTP."""

    def __init__(
        self,
        tell: Callable[[events.Event], None],
        ledger: Ledger,
        refers: Callable[[str], bool],
        key: Callable[[], bytes],
        clock: Callable[[], float],
    ) -> None:
        self.calls: dict[int, StackCall] = {}
        self._heirs: dict[int, StackCall] = {}  # by the number of the dialog that they come from
        self._tell = tell
        self._count, self._refuse = ledger.count, ledger.refuse
        self._refers = refers
        self._key = key
        self._clock = clock
        self._next_dialog = 1
        #: Calls in which an offer of ours waits for its answer, by Call-ID
        self._asking: dict[str, StackCall] = {}

    def enter(self, call: StackCall) -> None:
        """A dialog of theirs, or an heir, gets its number."""
        call.dialog.id, self._next_dialog = self._next_dialog, self._next_dialog + 1
        self.calls[call.dialog.id] = call

    def heir_of(self, call: StackCall) -> StackCall | None:
        """The call that will take this one's place if it is answered."""
        return self._heirs.get(call.dialog.id)

    def progressed(self, call: StackCall, progress: Progress) -> None:
        dialog = call.dialog
        if progress.phase is Phase.OVER:
            self._over(call, progress)
        elif dialog.state is State.DIALLING:
            dialog.sip_call_id = dialog.sip_call_id or headers.value_of(progress.raw, "call-id")
            if progress.phase is Phase.CONFIRMED:
                dialog.state = State.CONFIRMED
                self._count("confirmed")
            elif dialog.heir:
                if progress.phase is Phase.ACCEPTED:
                    self._inherit(call, headers.sdp_of(progress.raw))
            elif progress.code > 100:
                self._tell(events.Answered(dialog.id, progress.code, progress.reason, headers.sdp_of(progress.raw)))
        elif progress.phase is Phase.CONFIRMED and dialog.state is State.ANSWERED:
            dialog.state = State.CONFIRMED
            self._count("confirmed")
            # Their answer is in the ACK when the offer was ours (RFC 3264 §4, RFC 3261 §13.2.1)
            self._tell(events.Acknowledged(dialog.id, None if dialog.offered else headers.sdp_of(progress.raw)))

    def _over(self, call: StackCall, progress: Progress) -> None:
        dialog = call.dialog
        cause = dialog.end(progress.code)
        self._asking.pop(dialog.sip_call_id, None)
        heir = self.heir_of(call)
        if self._heirs.get(dialog.heir_of) is call:
            del self._heirs[dialog.heir_of]
        if self.calls.get(dialog.id) is not call:
            return
        del self.calls[dialog.id]
        if heir is not None and dialog.told and dialog.intent != "local":
            self._hand_over(dialog, heir)
        elif dialog.told:
            self._count("ended")
            if cause == "cancelled":
                self._count("cancelled")
            words = headers.besides(progress.raw)
            self._tell(events.Ended(dialog.id, cause, progress.code, progress.reason, words))

    def _hand_over(self, dialog: Dialog, heir: StackCall) -> None:
        """The heir bears the number from now on, and the controller's commands are his."""
        self.calls.pop(heir.dialog.id, None)
        self._heirs.pop(heir.dialog.heir_of, None)
        heir.dialog.id, heir.dialog.told, heir.dialog.heir_of = dialog.id, True, 0
        dialog.told = False
        self.calls[heir.dialog.id] = heir

    def _inherit(self, call: StackCall, answer: str | None) -> None:
        """Whom the call was transferred to has answered."""
        dialog = call.dialog
        if old := self.calls.get(dialog.heir_of):
            number = dialog.id
            self._hand_over(old.dialog, call)
            old.dialog.id = number
            old.deadline_s = self._clock() + LEAVE_S
            self.calls[number] = old
        dialog.heir = False
        self._tell(events.Transferred(dialog.id, dialog.sip_call_id, dialog.local_sdp, answer or ""))

    def overdue(self) -> list[tuple[StackCall, str]]:
        """Who must be hung up: what rings for too long, and who transferred a call and did not leave. With the why."""
        now, found = self._clock(), []
        for call in self.calls.values():
            dialog = call.dialog
            if dialog.state is State.DIALLING and call.deadline_s < now:
                dialog.intent = "timeout"
                found.append((call, "no answer"))
            elif dialog.state is State.CONFIRMED and not dialog.told and 0 < call.deadline_s < now:
                call.deadline_s = 0.0
                found.append((call, "transferred"))
        return found

    def description(self, call: StackCall, answering: bool) -> str:
        """Ours when it waits. An answer that is still to come is given with the 200; a re-INVITE without an
        offer is offered what we have (RFC 3261 §14.2)."""
        dialog = call.dialog
        if dialog.pending_sdp or not answering:
            if not answering and dialog.state is State.CONFIRMED:
                self._asking[dialog.sip_call_id] = call
            return dialog.describe()
        return ""

    def reoffered(self, call: StackCall, raw: str, max_bytes: int) -> bool:
        """A re-INVITE. False: it is refused."""
        try:
            _, offer = headers.inspect(raw, max_bytes)
        except Refused as error:
            self._refuse(error.defect)
            return False
        call.dialog.state = State.REOFFERED
        call.dialog.sent.clear()
        self._count("reinvites")
        self._tell(events.Reinvited(call.dialog.id, offer))
        return True

    def updated(self, call: StackCall, offer: str) -> bool:
        """RFC 3311 §5.2 lets an UPDATE wait for nobody: it is answered on the terms of our last SDP."""
        offer = headers.printable(offer)
        try:
            settled = negotiation.reanswer(sdp.parse(call.dialog.local_sdp), sdp.parse(offer))
        except SdpRefused:
            self._refuse(headers.Defect.BAD_SDP)
            return False
        call.dialog.pending_sdp = settled.sdp
        self._count("updates")
        self._tell(events.Updated(call.dialog.id, offer, settled.sdp))
        return True

    def answered_by_ack(self, raw: str) -> None:
        """The stack keeps the ACK of an offerless re-INVITE to itself, with the answer that is in it."""
        if self._asking and (call := self._asking.pop(headers.value_of(raw, "call-id"), None)):
            self._tell(events.Acknowledged(call.dialog.id, headers.sdp_of(raw)))

    def heard(self, call: StackCall, raw: str) -> None:
        """INFO, and the response to an offer of ours within the dialog."""
        dialog = call.dialog
        if raw.startswith("INFO "):
            self._count("infos")
            with suppress(Refused):
                message = headers.split(headers.printable(raw))
                self._tell(events.InfoReceived(dialog.id, message.get("content-type") or "", message.body))
        elif dialog.sip_call_id in self._asking and raw.startswith("SIP/2.0 "):
            code = int(raw[8:11]) if raw[8:11].isdigit() else 0
            if code >= 200 and headers.value_of(raw, "cseq").endswith("INVITE"):
                self._asking.pop(dialog.sip_call_id, None)
                words = headers.printable(raw).partition("\n")[0].strip()[12:]
                self._tell(events.Answered(dialog.id, code, words, headers.sdp_of(raw)))

    def referred(self, call: StackCall, target: str, place: Callable[[Dialog], StackCall]) -> bool:
        """A REFER. True: the stack dials, for the call that `place` makes of a dialog; False: it declines."""
        dialog = call.dialog
        self._count("refers")
        target = headers.one_line(target, headers.MAX_URI)
        taken = self._may_refer(call, target)
        if dialog.told:
            self._tell(events.Referred(dialog.id, target, taken))
        if not taken:
            self._count("refers_declined")
            return False
        offer = negotiation.reoffer(sdp.parse(dialog.local_sdp), self._key())
        heir = Dialog(0, "", State.DIALLING, pending_sdp=offer, trunk=dialog.trunk, source=dialog.source)
        heir.heir, heir.heir_of = True, dialog.id
        made = place(heir)
        made.deadline_s = self._clock() + REFER_RING_S
        self.enter(made)
        self._heirs[dialog.id] = made
        return True

    def _may_refer(self, call: StackCall, target: str) -> bool:
        """One transfer at a time, to a SIP address, where the trunk's policy allows it."""
        dialog = call.dialog
        if dialog.state is not State.CONFIRMED or not dialog.told or not self._refers(dialog.trunk):
            return False
        if self.heir_of(call) is not None:
            return False
        return headers.address_uri(target).lower().startswith(("sip:", "sips:"))

    def transferred(self, call: StackCall, code: int, reason: str, final: bool) -> None:
        """How a REFER of ours goes (RFC 3515 §2.4.4)."""
        if call.dialog.told:
            self._tell(events.ReferProgress(call.dialog.id, code, headers.one_line(reason, 100), final))
