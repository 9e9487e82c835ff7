"""One call at work: carries out what its state machine wants, and tells it what came of it.

Owns nothing but the order of these two and the handles that the actions need: the dialog's number, the leg,
the place in the session. The rules are in `call.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from gateway.calls import actions as do
from gateway.calls import causes, inputs, routing
from gateway.calls import media as sdp_media
from gateway.calls.call import Call, State
from gateway.calls.diagnosis import Diagnosis
from gateway.calls.directory import SessionInfo
from gateway.calls.dtmf import read_info
from gateway.calls.errand import Errand
from gateway.calls.passing import passed
from gateway.calls.session import LiveSession
from gateway.calls.timings import Timings
from gateway.channel import PeerGone
from gateway.errors import GatewayError
from gateway.ops.logs import Log
from gateway.ops.metrics import Metrics
from gateway.sip import events as sip
from gateway.stream import messages
from gateway.stream.connection import Over
from rtp import control
from rtp.engine import Engine, EngineRefused, Leg

#: A digit sent on request lasts so long (RFC 4733 leaves it to us).
DIGIT_MS: Final = 100
MAX_DIGITS: Final = 64


class Exchange(Protocol):
    """What the calls of this process share; `controller.py` is it."""

    engine: Engine
    metrics: Metrics
    symmetric: str

    def send_sip(self, command: sip.AnyCommand) -> None: ...
    async def resolve(self, choice: routing.Existing | routing.Create) -> SessionInfo: ...
    async def media_back(self) -> None: ...
    def session(self, info: SessionInfo) -> LiveSession: ...
    def leg_opened(self, leg: Leg, runner: Runner) -> None: ...
    def over(self, runner: Runner) -> None: ...


class Runner:
    """A call and its handles."""

    def __init__(self, exchange: Exchange, call: Call, errand: Errand, log: Log) -> None:
        identity = errand.identity
        self.call = call
        self.call_id = identity.call_id
        self.identity = identity
        self.dialog = errand.dialog
        self.leg: Leg | None = None
        self.statistics: dict[str, float] = {}
        self.timings = Timings()
        self.diagnosis = Diagnosis()
        self.log = log.bind(call_id=identity.call_id, sip_call_id=identity.sip_call_id)
        self._choice = errand.choice
        self._asked = errand.speaker
        self._errand = errand
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._info: SessionInfo | None = None
        self._session: LiveSession | None = None
        self._speaker: str | None = None
        self._accepted = False
        self._farewell: dict[str, str] = {}  # headers of the message that ended it
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._unwanted = False  # the leg
        self._wake: asyncio.TimerHandle | None = None
        self._do: dict[type[do.Action], Callable[[Any], None]] = {
            do.Ring: self._ring,
            do.Resolve: self._resolve,
            do.OpenLeg: self._open_leg,
            do.Join: self._join,
            do.Dial: self._dial,
            do.Progress: self._progress,
            do.Accept: self._accept,
            do.Refuse: self._refuse,
            do.Bye: self._bye,
            do.Configure: self._configure,
            do.Attach: self._attach,
            do.Detach: self._detach,
            do.TellHold: self._tell_hold,
            do.Leave: self._leave,
            do.CloseLeg: self._close_leg,
            do.WakeAt: self._wake_at,
            do.Over: self._over,
        }

    @property
    def trunk(self) -> str:
        """By whose terms it is."""
        return self._errand.trunk.name

    @property
    def unknown(self) -> bool:
        """There is no session that it could belong to."""
        return self._choice is None

    def joined(self, speaker: str) -> messages.CallJoined:
        """What the session is told when the call has been answered."""
        who = self.identity
        headers = self._errand.headers or None
        return messages.CallJoined(speaker, who.call_id, None, who.sip_call_id or None, who.direction, headers)

    def left(self, speaker: str, reason: str) -> messages.CallLeft:
        """What it is told when the call has ended."""
        return messages.CallLeft(speaker, self.call_id, reason, self._farewell or None)

    def begin(self, refusal: GatewayError | None) -> None:
        self._perform(self.call.begin(refusal))

    def feed(self, event: inputs.Input) -> None:
        """Something has happened to the call."""
        before = self.call.unexpected
        actions = self.call.handle(event, self._loop.time())
        if self.call.unexpected != before:
            self._exchange.metrics.call_unexpected.inc()
            self.log.info("unexpected_event", state=self.call.state.value, happened=type(event).__name__)
        self._perform(actions)

    def on_dialog(self, event: sip.AnyEvent) -> None:
        """From the sip process, about this call's dialog."""
        match event:
            case sip.Acknowledged(sdp=sdp):
                self.feed(inputs.Acknowledged(sdp))
            case sip.Reinvited(sdp=sdp):
                self.feed(inputs.Reinvited(sdp))
            case sip.Updated(sdp=sdp, answer=answer):
                self.feed(inputs.Updated(sdp, answer))
            case sip.Answered(code=code, sdp=sdp) if code < 200:
                self.feed(inputs.Progressed(code, sdp))
            case sip.Answered(code=code, sdp=sdp) if code < 300:
                self.feed(inputs.Answered(sdp))
            case sip.Ended(cause=cause, code=code, reason=reason):
                self._farewell = passed(event.headers, self._errand.trunk)
                self.feed(inputs.PeerGone(cause, code, reason))
            case sip.Referred(target=target, taken=taken):
                self.log.info("transfer_asked", target=target, taken=taken)
            case sip.Transferred(sip_call_id=sip_call_id, sdp=sdp, answer=answer):
                self.log.info("transferred", to_sip_call_id=sip_call_id)
                self.feed(inputs.Moved(sdp, answer))
            case sip.ReferProgress(final=False):
                pass
            case sip.ReferProgress(code=code) if code < 300:
                self.feed(inputs.HangUp("hangup", "transferred"))  # RFC 5589 §6.1: the transferor leaves
            case sip.ReferProgress(code=code, reason=reason):
                self._complain("transfer_failed", f"{code} {reason}".strip())
            case sip.InfoReceived(content_type=content_type, body=body):
                if press := read_info(content_type, body):
                    self._exchange.metrics.dtmf_info.inc()
                    self.tell(messages.Dtmf(self.call.speaker, press.digit, press.duration_ms))
            case _:
                self._exchange.metrics.call_unexpected.inc()

    def on_leg(self, event: control.AnyEvent) -> None:
        """From the rtp process, about this call's leg."""
        speaker = self.call.speaker
        match event:
            case control.DigitReceived(digit=digit, duration_ms=duration_ms):
                self.tell(messages.Dtmf(speaker, digit, duration_ms))
            case control.SpeechChanged(speaking=speaking, timestamp_ms=timestamp_ms):
                kind = messages.SpeechStarted if speaking else messages.SpeechStopped
                self.tell(kind(speaker, timestamp_ms))
            case control.RemoteChanged(address=address, port=port):
                self.log.info("rtp_source_changed", address=address, port=port)
            case control.StrangerSeen(address=address, port=port):
                self.diagnosis.stranger = f"{address}:{port}"
                self.log.warning("rtp_stranger", address=address, port=port)

    def tell(self, message: messages.ClientMessage) -> None:
        """Something for the session to know, while the call is a member of it."""
        if self._session is not None and self.call.state is State.ACTIVE:
            self._session.tell(message)

    # What the session wants of the call

    def stream_ready(self, speaker: str) -> None:
        self.feed(inputs.StreamReady(speaker))

    def stream_over(self, over: Over) -> None:
        self._session = None
        self.feed(inputs.StreamOver(over.fault, over.reason, over.detail))

    def send_digits(self, digits: str) -> None:
        good = "".join(digit for digit in digits.upper() if digit in "0123456789*#ABCD")[:MAX_DIGITS]
        if not good or self.leg is None:
            self._complain("dtmf_failed", "no digits that can be sent")
            return
        try:
            self._exchange.engine.send_digits(control.SendDigits(self.leg.row, self.leg.generation, good, DIGIT_MS))
        except (EngineRefused, PeerGone) as error:
            self._complain("dtmf_failed", str(error) or "the rtp process is away")

    def transfer(self, to: str) -> None:
        if self.call.state is not State.ACTIVE or not to.lower().startswith(("sip:", "sips:", "tel:")):
            self._complain("transfer_failed", "the target of a transfer is a sip:, sips: or tel: URI")
            return
        self._exchange.send_sip(sip.Refer(self.dialog, to))

    def hang_up(self, reason: str) -> None:
        self.feed(inputs.HangUp("hangup", reason[:100]))

    def _complain(self, code: str, message: str) -> None:
        if self._session is not None and self._speaker is not None:
            self._session.tell(messages.CallError(self._speaker, code, message))

    # What the call wants done

    def _perform(self, actions: list[do.Action]) -> None:
        for action in actions:
            self._do[type(action)](action)

    def _ring(self, action: do.Ring) -> None:
        self._respond(180, sip.Ring(self.dialog))

    def _resolve(self, action: do.Resolve) -> None:
        self._asking = self._spawn(self._ask_directory())

    async def _ask_directory(self) -> None:
        assert self._choice is not None  # without one the call was refused when it began
        try:
            info = await self._exchange.resolve(self._choice)
        except GatewayError as error:
            self.log.info("session_refused", fault=error.fault.label, message=error.message)
            self.feed(inputs.Refused(error))
            return
        self._info = info
        self.log = self.log.bind(session_id=info.id)
        self.feed(inputs.Resolved(info.id))

    def _open_leg(self, action: do.OpenLeg) -> None:
        self._spawn(self._get_leg(action))

    async def _get_leg(self, wanted: do.OpenLeg) -> None:
        engine = self._exchange.engine
        try:
            await self._exchange.media_back()
            leg = await engine.open_leg(wanted.port, wanted.ipv6)
        except (EngineRefused, PeerGone) as error:
            self.feed(inputs.LegRefused(error.reason if isinstance(error, EngineRefused) else "lost"))
            return
        if self._unwanted:
            self._free(leg)
            return
        self.leg = leg
        self._exchange.leg_opened(leg, self)
        self.feed(inputs.LegOpened(leg.rtp_port))

    def _join(self, action: do.Join) -> None:
        assert self._info is not None  # Join follows Resolved
        self._session = self._exchange.session(self._info)
        self._speaker = self._session.join(self, self._asked)

    def _dial(self, action: do.Dial) -> None:
        assert self._errand.dial is not None  # a call of ours has an address
        headers = {"X-Session-ID": self.call.session_id} | self._errand.dial.headers
        self._exchange.send_sip(msgspec.structs.replace(self._errand.dial, sdp=action.sdp, headers=headers))

    def _progress(self, action: do.Progress) -> None:
        if action.error is not None:
            self.log.info("dial_failed", code=action.code, message=action.error.message)
            if self._session is not None and self._speaker is not None:
                words = (self._speaker, action.error.fault.value.code, action.error.message, self.call_id)
                self._session.tell(messages.CallError(*words))
        self._errand.progress(action)

    def _accept(self, action: do.Accept) -> None:
        if not self._accepted:
            self._accepted = True
            self._exchange.metrics.call_setup.observe(self._loop.time() - self.call.started)
        headers = {"X-Session-ID": self.call.session_id}
        self._respond(200, sip.Accept(self.dialog, action.sdp, headers))

    def _refuse(self, action: do.Refuse) -> None:
        headers = {} if action.retry_after_s is None else {"Retry-After": str(action.retry_after_s)}
        self._respond(action.code, sip.Reject(self.dialog, action.code, action.reason, headers))

    def _respond(self, code: int, command: sip.AnyCommand) -> None:
        self._exchange.metrics.sip_responses[str(code)].inc()
        self._exchange.send_sip(command)

    def _bye(self, action: do.Bye) -> None:
        why = self.call.end_reason or self.call.outcome
        self._exchange.send_sip(sip.Hangup(self.dialog, causes.reason(why, action.reason)))

    def _configure(self, action: do.Configure) -> None:
        if self.leg is None:
            return
        symmetric = self._errand.trunk.symmetric or self._exchange.symmetric
        command = sdp_media.configure(self.leg, action.settled, symmetric, self.call_id)
        try:
            self._exchange.engine.configure(command)
        except (EngineRefused, PeerGone):
            self.log.warning("leg_not_configured")  # the process is gone; that is told to every call in a moment

    def _attach(self, action: do.Attach) -> None:
        if self._session is not None and self._speaker is not None and self.leg is not None:
            self._session.attach(self._speaker, self.leg, early=action.early)

    def _detach(self, action: do.Detach) -> None:
        self.leg = None
        if self._session is not None and self._speaker is not None:
            self._session.detach(self._speaker)

    def _tell_hold(self, action: do.TellHold) -> None:
        if self._speaker is not None:
            kind = messages.CallHeld if action.held else messages.CallResumed
            self.tell(kind(self._speaker, self.call_id))

    def _leave(self, action: do.Leave) -> None:
        session, self._session = self._session, None
        if session is not None and self._speaker is not None:
            session.leave(self._speaker, action.reason)

    def _close_leg(self, action: do.CloseLeg) -> None:
        self._unwanted = True  # one that is still opening is freed as soon as it is there
        if self.leg is not None:
            self._free(self.leg)
            if not self._exchange.engine.alive:
                self._loop.call_soon(self.feed, inputs.MediaLost())

    def _free(self, leg: Leg) -> None:
        try:
            self._exchange.engine.close(leg)
        except (EngineRefused, PeerGone):
            self.log.warning("leg_not_closed")  # the process is gone, and the leg with it

    def _wake_at(self, action: do.WakeAt) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = self._loop.call_at(action.time, self.feed, inputs.Tick())

    def _over(self, action: do.Over) -> None:
        if self._wake is not None:
            self._wake.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._exchange.over(self)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Any) -> None:
        """A defect of ours ends this call and no other."""
        try:
            await work
        except Exception as error:
            self.log.exception("call_failed")
            self.feed(inputs.HangUp("failed", type(error).__name__))
