"""One call's state machine: events and the time go in, actions come out. Sans-IO.

Theory of operation. A call is a SIP dialog, a media leg and a membership in a session. It talks only when all
three stand, and each of them can end it:

    RESOLVING ──Resolved──► PREPARING ──leg and stream both ready──► (DIALLING ──200──►) ACTIVE
        │                       │                                        │                 │
        └── Refused, CANCEL, time, lost ──► ENDING ◄─────────────────────┴── BYE, session, no RTP, stop
                                               │
                                               └── dialog gone and leg closed (or too long) ──► OVER

- RESOLVING: the session directory is being asked.
- PREPARING: the leg is opening, the stream is to become ready; in either order.
- DIALLING: our INVITE is out. The other end rings, and may be heard already.
- ACTIVE: 200, audio flows. The loss of the sip process costs the dialog and not the talk: audio goes
  on until RTP stops. The loss of the rtp process costs the leg, which is opened again on the same port.
- ENDING: everything has been told to end; the last confirmations are awaited, for the record.

Here is what every call has in common; how it comes to be ACTIVE is `incoming.py`'s and `outgoing.py`'s, each with
a table of its own. An event that a state does not expect is counted and otherwise nothing.
Owns these rules; refuses to know sockets, SDP text (`media.py`), sessions and audio.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.media import LegMedia
from gateway.errors import Fault, GatewayError
from gateway.sip.negotiation import Settled

#: After this long in ENDING nobody waits for confirmations any more.
END_TIMEOUT_S: Final = 5.0
#: Silence that ends a call whose signalling is lost, when `media.no_rtp_timeout_s` is off.
ORPHAN_TIMEOUT_S: Final = 30.0
#: How long a call waits for a fresh rtp process.
REOPEN_TIMEOUT_S: Final = 10.0

Actions = list[do.Action]


class State(Enum):
    RESOLVING = "resolving"
    PREPARING = "preparing"
    DIALLING = "dialling"
    ACTIVE = "active"
    ENDING = "ending"
    OVER = "over"


class Limits(NamedTuple):
    """The times that a call keeps, in seconds; no_rtp_s 0: never. retry_after_s goes with a 503."""

    ready_s: float
    no_rtp_s: float
    retry_after_s: int


class Call(ABC):
    """What calls have in common. Times are seconds of one monotonic clock; None: has not happened.

    dialog: there is one to speak to from the start.
    """

    #: (state, input) → the rule. What is not here was not expected.
    table: ClassVar[Table]

    def __init__(self, media: LegMedia, limits: Limits, now: float, *, dialog: bool) -> None:
        self.state = State.RESOLVING
        self.started = now
        self.answered: float | None = None
        self.ended: float | None = None
        self.outcome = ""  #: `labels.OUTCOMES` once it has ended
        self.end_reason = ""  #: `labels.END_REASONS` if it was answered
        self.sip_code = 0  #: the final response
        self.session_id = ""
        self.speaker = ""
        self.settled: Settled | None = None
        self.held = False
        self.unexpected = 0
        self._media = media
        self._limits = limits
        self._dialog = dialog  # there is a dialog to speak to
        self._dialog_over = False  # it said that it is over
        self._leg: int | None = None  # the port of the open leg
        self._leg_wanted = False
        self._stream = False
        self._quiet_since = now
        self._media_lost: float | None = None

    @abstractmethod
    def begin(self, refusal: GatewayError | None) -> Actions:
        """The first actions. refusal: why the call is not even tried (draining, capacity, no such number)."""

    def handle(self, event: inputs.Input, now: float) -> Actions:
        """What an event means now."""
        rule = self.table.get((self.state, type(event)))
        if rule is None:
            self.unexpected += 1
            return []
        return rule(self, event, now)

    # Setting up

    def _resolved(self, event: inputs.Resolved, now: float) -> Actions:
        self.state = State.PREPARING
        self.session_id = event.session_id
        self._leg_wanted = True
        return [do.OpenLeg(0, self._media.ipv6), do.Join()]

    def _refused(self, event: inputs.Refused, now: float) -> Actions:
        return self._fail(event.error, now)

    def _leg_opened(self, event: inputs.LegOpened, now: float) -> Actions:
        self._leg = event.port
        self._media.use_port(event.port)
        return self._go_on(now)

    def _leg_refused(self, event: inputs.LegRefused, now: float) -> Actions:
        self._leg_wanted = False
        return self._fail(GatewayError(Fault.CAPACITY, f"no media leg: {event.reason}"), now)

    def _stream_ready(self, event: inputs.StreamReady, now: float) -> Actions:
        self._stream = True
        self.speaker = event.speaker
        return self._go_on(now)

    def _stream_refused(self, event: inputs.StreamOver, now: float) -> Actions:
        return self._fail(GatewayError(event.fault or Fault.STREAM_REFUSED, event.detail), now)

    def _go_on(self, now: float) -> Actions:
        """The leg or the stream has come; both are needed."""
        return [] if self._leg is None or not self._stream else self._prepared(now)

    @abstractmethod
    def _prepared(self, now: float) -> Actions:
        """Both the leg and the stream are there."""

    def _too_slow(self, event: inputs.Tick, now: float) -> Actions:
        if not is_due(self.started + self._limits.ready_s, now):
            return []
        if self.state is State.RESOLVING:
            return self._fail(GatewayError(Fault.SERVICE_UNAVAILABLE, "the session service is too slow"), now)
        if not self._stream:
            return self._fail(GatewayError(Fault.STREAM_NOT_READY, "the session stream is not ready"), now)
        return self._fail(GatewayError(Fault.CAPACITY, "the media leg is not ready"), now)

    def _abandoned(self, event: inputs.SipLost, now: float) -> Actions:
        """Nobody is left to be answered."""
        self._dialog = False
        return self._fail(GatewayError(Fault.INTERNAL, "the sip process was lost"), now)

    def _unwanted(self, event: inputs.HangUp, now: float) -> Actions:
        fault = {"draining": Fault.DRAINING, "failed": Fault.INTERNAL}.get(event.reason, Fault.SESSION_ENDED)
        return self._fail(GatewayError(fault, event.detail), now)

    def _leg_lost(self, event: inputs.MediaLost, now: float) -> Actions:
        if self._leg is None:
            return []  # it is still being opened; that fails by itself
        self._leg = None
        self._leg_wanted = False
        return self._fail(GatewayError(Fault.CAPACITY, "the rtp process was lost"), now)

    # Talking

    def _acknowledged(self, event: inputs.Acknowledged, now: float) -> Actions:
        if event.sdp is None:
            if self.settled is None:  # our offer was answered by nothing: there is nobody to talk to
                return self._end("failed", now, "no answer to the offer")
            return []
        try:
            settled = self._media.accept(event.sdp)
        except GatewayError as error:
            if self.settled is None:
                return self._end("failed", now, error.message)
            return []  # the session goes on as it was (RFC 3261 §14.1)
        return self._changed(settled, now)

    def _reinvited(self, event: inputs.Reinvited, now: float) -> Actions:
        if event.sdp is None:
            return [do.Accept(self._media.offer())]
        try:
            settled = self._media.answer(event.sdp)
        except GatewayError as error:
            return [do.Refuse(error.fault.value.sip or 488, error.message)]
        return [do.Accept(settled.sdp), *self._changed(settled, now)]

    def _updated(self, event: inputs.Updated, now: float) -> Actions:
        try:
            settled = self._media.answered(event.sdp, event.answer)
        except GatewayError:
            self.unexpected += 1
            return []
        return self._changed(settled, now)

    def _moved(self, event: inputs.Moved, now: float) -> Actions:
        try:
            settled = self._media.moved(event.offer, event.answer)
        except GatewayError as error:
            return self._end("failed", now, error.message)
        self._quiet_since = now
        return self._changed(settled, now)

    def _changed(self, settled: Settled, now: float) -> Actions:
        before = self.held
        configure = self._settle(settled)
        if before and not self.held:
            self._quiet_since = now
        return [*configure, *self._hold_news(before)]

    def _settle(self, settled: Settled) -> Actions:
        self.settled = settled
        self.held = settled.held
        return [do.Configure(settled)]

    def _hold_news(self, before: bool) -> Actions:
        return [] if before == self.held else [do.TellHold(self.held)]

    def _silent(self, event: inputs.Tick, now: float) -> Actions:
        """A peer that is gone without a word sends no more RTP."""
        if self._media_lost is not None:
            if now - self._media_lost < REOPEN_TIMEOUT_S:
                return []
            return self._end("rtp_lost", now, "the rtp process was lost")
        if event.last_packet is None:
            return []  # the alarm of a set-up that is over
        limit = self._limits.no_rtp_s
        if not self._dialog:
            limit = limit or ORPHAN_TIMEOUT_S
        elif self.held:
            return []  # a peer on hold may be silent for as long as it likes
        quiet = now - max(self._quiet_since, event.last_packet)
        if not limit or quiet < limit:
            return []
        return self._end("no_rtp" if self._dialog else "sip_lost", now, "no RTP")

    def _peer_ended(self, event: inputs.PeerGone, now: float) -> Actions:
        self._dialog = False
        self._dialog_over = True
        return self._end("peer_bye" if event.cause == "bye" else "failed", now, event.cause)

    def _stream_ended(self, event: inputs.StreamOver, now: float) -> Actions:
        return self._end(event.reason, now, event.detail)

    def _hung_up(self, event: inputs.HangUp, now: float) -> Actions:
        return self._end(event.reason, now, event.detail)

    def _orphaned(self, event: inputs.SipLost, now: float) -> Actions:
        self._dialog = False
        return []

    def _leg_gone(self, event: inputs.MediaLost, now: float) -> Actions:
        if self._leg is None:
            return []
        port, self._leg = self._leg, None
        self._media_lost = now
        return [do.Detach(), do.OpenLeg(port, self._media.ipv6)]

    def _leg_back(self, event: inputs.LegOpened, now: float) -> Actions:
        self._leg = event.port
        self._media_lost = None
        self._quiet_since = now
        configure: Actions = [] if self.settled is None else [do.Configure(self.settled)]
        return [*configure, do.Attach()]

    def _leg_not_back(self, event: inputs.LegRefused, now: float) -> Actions:
        self._leg_wanted = False
        return self._end("rtp_lost", now, f"no media leg: {event.reason}")

    # Ending

    def _fail(self, error: GatewayError, now: float) -> Actions:
        """Before the 200."""
        self.outcome = error.fault.label
        self.sip_code = self.sip_code or error.fault.value.sip or 500
        return self._refuse(error) + self._wind_up(now, error.message)

    @abstractmethod
    def _refuse(self, error: GatewayError) -> Actions:
        """Whoever wanted the call learns why there is none."""

    def _end(self, reason: str, now: float, detail: str) -> Actions:
        """After the 200: BYE, unless the peer said it first."""
        self.outcome = "ok"
        self.end_reason = reason
        told: Actions = [do.Bye(detail)] if self._dialog else []
        return told + self._wind_up(now, reason)

    def _wind_up(self, now: float, reason: str) -> Actions:
        self.state = State.ENDING
        self.ended = now
        if not self._dialog:
            self._dialog_over = True
        rest: Actions = [do.Leave(reason)]
        if self._leg_wanted:
            rest.append(do.CloseLeg())
        if self._leg is None:
            self._leg_wanted = False  # one that is still opening is closed unseen, and has no last words
        return [*rest, do.WakeAt(now + END_TIMEOUT_S), *self._over_if_done(now)]

    def _dialog_ended(self, event: inputs.PeerGone | inputs.SipLost, now: float) -> Actions:
        self._dialog_over = True
        return self._over_if_done(now)

    def _leg_ended(self, event: inputs.LegClosed | inputs.MediaLost, now: float) -> Actions:
        self._leg_wanted = False
        return self._over_if_done(now)

    def _give_up(self, event: inputs.Tick, now: float) -> Actions:
        if self.ended is not None and is_due(self.ended + END_TIMEOUT_S, now):
            self._dialog_over, self._leg_wanted = True, False
        return self._over_if_done(now)

    def _over_if_done(self, now: float) -> Actions:
        if not self._dialog_over or self._leg_wanted:
            return []
        self.state = State.OVER
        return [do.Over()]

    def _nothing(self, event: inputs.Input, now: float) -> Actions:
        return []

    def _owed_refusal(self, event: inputs.Reinvited, now: float) -> Actions:
        return [do.Refuse(481, "Call Ending")]


def is_due(at: float, now: float) -> bool:
    """Timers count in milliseconds and may come that much too early; a `Tick` must not be in vain for it."""
    return now >= at - 0.005


Rule = Callable[[Any, Any, float], Actions]
Table = dict[tuple[State, type[inputs.Input]], Rule]
_R, _P, _A, _E, _O = State.RESOLVING, State.PREPARING, State.ACTIVE, State.ENDING, State.OVER


def unanswered(state: State) -> Table:
    """What ends a call in any state before its 200."""
    return {(state, inputs.HangUp): Call._unwanted, (state, inputs.SipLost): Call._abandoned}


def too_late(*kinds: type[inputs.Input]) -> Table:
    """What was under way when the end came."""
    return dict.fromkeys(((_E, kind) for kind in kinds), Call._nothing)


#: What calls of either direction do alike.
COMMON: Final[Table] = {
    **unanswered(_R),
    **unanswered(_P),
    (_R, inputs.Resolved): Call._resolved,
    (_R, inputs.Refused): Call._refused,
    (_R, inputs.Tick): Call._too_slow,
    (_R, inputs.MediaLost): Call._nothing,
    (_P, inputs.LegOpened): Call._leg_opened,
    (_P, inputs.LegRefused): Call._leg_refused,
    (_P, inputs.StreamReady): Call._stream_ready,
    (_P, inputs.StreamOver): Call._stream_refused,
    (_P, inputs.Tick): Call._too_slow,
    (_P, inputs.MediaLost): Call._leg_lost,
    (_A, inputs.Acknowledged): Call._acknowledged,
    (_A, inputs.Reinvited): Call._reinvited,
    (_A, inputs.Updated): Call._updated,
    (_A, inputs.Moved): Call._moved,
    (_A, inputs.Tick): Call._silent,
    (_A, inputs.PeerGone): Call._peer_ended,
    (_A, inputs.StreamOver): Call._stream_ended,
    (_A, inputs.StreamReady): Call._nothing,  # the stream is back after a loss
    (_A, inputs.HangUp): Call._hung_up,
    (_A, inputs.SipLost): Call._orphaned,
    (_A, inputs.MediaLost): Call._leg_gone,
    (_A, inputs.LegOpened): Call._leg_back,
    (_A, inputs.LegRefused): Call._leg_not_back,
    (_E, inputs.PeerGone): Call._dialog_ended,
    (_E, inputs.SipLost): Call._dialog_ended,
    (_E, inputs.LegClosed): Call._leg_ended,
    (_E, inputs.MediaLost): Call._leg_ended,
    (_E, inputs.Tick): Call._give_up,
    (_E, inputs.Reinvited): Call._owed_refusal,
    **too_late(inputs.Resolved, inputs.Refused, inputs.LegOpened, inputs.LegRefused, inputs.StreamReady),
    **too_late(inputs.StreamOver, inputs.Acknowledged, inputs.Updated, inputs.Moved, inputs.HangUp),
    (_O, inputs.Tick): Call._nothing,
}
