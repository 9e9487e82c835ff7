"""A call that we place: the INVITE goes out when the session, the leg and the stream are there.

    PREPARING ──ready──► DIALLING ──200──► ACTIVE
                            │  └─180, 183: it rings; an SDP with it is early media and is heard at once
                            └── 3xx–6xx, no answer in time, session over, hung up (CANCEL) ──► ENDING

Whoever ordered the call is told by `Progress` how it goes: that it rings, that it was answered, or why it is not
going to be. Owns the rules until the 200; what comes after is every call's (`call.py`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import COMMON, Actions, Call, Limits, State, Table, is_due, too_late, unanswered
from gateway.calls.media import LegMedia
from gateway.errors import Fault, GatewayError
from gateway.sip.negotiation import Settled


class OutgoingCall(Call):
    """A call of ours. ring_s: how long it may ring."""

    table: ClassVar[Table]

    def __init__(self, media: LegMedia, limits: Limits, ring_s: float, now: float) -> None:
        super().__init__(media, limits, now, dialog=False)
        self._ring_s = ring_s
        self._ring_until = now
        self._early: Settled | None = None

    def begin(self, refusal: GatewayError | None) -> Actions:
        if refusal is not None:
            return self._fail(refusal, self.started)
        return [do.Resolve(), do.WakeAt(self.started + self._limits.ready_s)]

    def _prepared(self, now: float) -> Actions:
        self.state = State.DIALLING
        self._dialog = True
        self._ring_until = now + self._ring_s
        return [do.Dial(self._media.offer()), do.WakeAt(self._ring_until)]

    def _refuse(self, error: GatewayError) -> Actions:
        """CANCEL, if there is something to cancel; and the one who ordered it is told."""
        cancel: Actions = [do.Bye(error.message)] if self._dialog else []
        return [do.Progress(self.sip_code, error), *cancel]

    def _progressed(self, event: inputs.Progressed, now: float) -> Actions:
        rings: Actions = [do.Progress(event.code)]
        if event.sdp is None:
            return rings
        try:
            self._early = self._media.preview(event.sdp)  # each fork may have its own (RFC 3261 §13.2.2.4)
        except GatewayError:
            self.unexpected += 1
            return rings
        return [*rings, *self._settle(self._early), do.Attach(early=True)]

    def _answered(self, event: inputs.Answered, now: float) -> Actions:
        try:
            settled = self._taken(event.sdp)
        except GatewayError as error:
            return self._fail(GatewayError(Fault.DIAL_FAILED, f"488 {error.message}"), now)
        self.state = State.ACTIVE
        self.answered = self._quiet_since = now
        self.sip_code = 200
        return [*self._settle(settled), do.Attach(), do.Progress(200), *self._hold_news(False)]

    def _taken(self, sdp: str | None) -> Settled:
        """What the 200 settles. Without an SDP the one of the provisional response holds."""
        if sdp is None and self._early is not None:
            return self._early
        return self._media.accept(sdp or "")

    def _failed(self, event: inputs.PeerGone, now: float) -> Actions:
        """Refused, or nobody there."""
        self._dialog = False
        self._dialog_over = True
        self.sip_code = event.code or 500
        if event.cause == "limited":  # our own refusal, not the other end's
            full = GatewayError(Fault.CAPACITY, event.reason, retry_after_s=self._limits.retry_after_s)
            return self._fail(full, now)
        words = f"{self.sip_code} {event.reason}".strip()
        return self._fail(GatewayError(Fault.DIAL_FAILED, words), now)

    def _no_answer(self, event: inputs.Tick, now: float) -> Actions:
        if not is_due(self._ring_until, now):
            return []
        self.sip_code = 408
        return self._fail(GatewayError(Fault.DIAL_FAILED, f"408 no answer within {self._ring_s:g} s"), now)


_D = State.DIALLING
_SETTING_UP: Final[Table] = {
    **unanswered(_D),
    **too_late(inputs.Progressed, inputs.Answered),
    (_D, inputs.Progressed): OutgoingCall._progressed,
    (_D, inputs.Answered): OutgoingCall._answered,
    (_D, inputs.PeerGone): OutgoingCall._failed,
    (_D, inputs.Tick): OutgoingCall._no_answer,
    (_D, inputs.StreamOver): OutgoingCall._stream_refused,
    (_D, inputs.StreamReady): OutgoingCall._nothing,  # the stream is back after a loss
    (_D, inputs.MediaLost): OutgoingCall._leg_lost,
    (_D, inputs.Updated): OutgoingCall._updated,
}
OutgoingCall.table = COMMON | _SETTING_UP
