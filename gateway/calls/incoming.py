"""A call that comes to us: its INVITE is answered when the session, the leg and the stream are there.

180 is sent while they come to be, 200 only after `session.ready`, so that nobody hears dead air; CANCEL in between
ends it. Owns the rules until the 200, and what a caller is told who does not get one. What comes after is every
call's (`call.py`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import COMMON, Actions, Call, Limits, State, Table
from gateway.calls.media import LegMedia
from gateway.errors import Fault, GatewayError


class IncomingCall(Call):
    """A call of theirs. offer: the SDP of the INVITE; None: it wants ours."""

    table: ClassVar[Table]

    def __init__(self, media: LegMedia, offer: str | None, limits: Limits, now: float) -> None:
        super().__init__(media, limits, now, dialog=True)
        self._offer = offer

    def begin(self, refusal: GatewayError | None) -> Actions:
        if refusal is None and self._offer is not None:
            try:
                self._media.try_offer(self._offer)
            except GatewayError as error:
                refusal = error
        if refusal is not None:
            return self._fail(refusal, self.started)
        return [do.Ring(), do.Resolve(), do.WakeAt(self.started + self._limits.ready_s)]

    def _prepared(self, now: float) -> Actions:
        if self._offer is None:
            sdp, configure = self._media.offer(), []  # delayed offer (RFC 3261 §13.2.1): the answer is in the ACK
        else:
            try:
                settled = self._media.answer(self._offer)
            except GatewayError as error:
                return self._fail(error, now)
            sdp, configure = settled.sdp, self._settle(settled)
        self.state = State.ACTIVE
        self.answered = self._quiet_since = now
        self.sip_code = 200
        return [*configure, do.Attach(), do.Accept(sdp), *self._hold_news(False)]

    def _refuse(self, error: GatewayError) -> Actions:
        """The caller gets a final response."""
        if not self._dialog:
            return []
        retry = error.retry_after_s or self._limits.retry_after_s if error.fault.value.retry else None
        return [do.Refuse(self.sip_code, error.message, retry)]

    def _cancelled(self, event: inputs.PeerGone, now: float) -> Actions:
        self._dialog = False
        self._dialog_over = True
        return self._fail(GatewayError(Fault.CANCELLED, event.cause), now)

    def _too_early(self, event: inputs.Reinvited, now: float) -> Actions:
        return [do.Refuse(491, "Request Pending")]  # RFC 3261 §14.2, RFC 3311 §5.2


_R, _P = State.RESOLVING, State.PREPARING
_SETTING_UP: Final[Table] = {
    (_R, inputs.PeerGone): IncomingCall._cancelled,
    (_R, inputs.Reinvited): IncomingCall._too_early,
    (_P, inputs.PeerGone): IncomingCall._cancelled,
    (_P, inputs.Reinvited): IncomingCall._too_early,
}
IncomingCall.table = COMMON | _SETTING_UP
