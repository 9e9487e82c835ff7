"""The sip process: between the SIP stack and the controller, one loop and one table of dialogs.

Theory of operation. `serve` waits, in one epoll set, on the stack's own event descriptor and on the
channel to the controller, so that a packet and a command wake it alike, and lets both work. What the
stack tells during a poll is only noted; INVITEs are looked at (`headers.py`) and told after it, because
pjsua2 must not be answered from within `onIncomingCall`. Commands go through the table of `dialogs.py`.

It owns dialogs, counters and the order of things. It refuses to know pjsua2 (`agent.py`), sessions and
audio, and it never waits for the controller.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from gateway.channel import Channel, PeerGone
from gateway.config import Config
from gateway.host import give_back_memory
from gateway.sip import events, headers, options
from gateway.sip.accounts import hosts, placement
from gateway.sip.admission import Admission
from gateway.sip.dialogs import Action, Dialog, State
from gateway.sip.headers import Refused
from gateway.sip.ledger import Ledger, Log
from gateway.sip.names import Names
from gateway.sip.negotiation import KEY_BYTES
from gateway.sip.oversight import Oversight
from gateway.sip.roster import Roster
from gateway.sip.screening import Door, invitation, late_request, refuse, rejection
from gateway.sip.stack import Phase, Progress, Request, Stack, StackCall, StackError, Verdict, Wire
from gateway.sip.within import Within
from gateway.trunks import in_force, named

#: The stack's timers (500 ms and up) are served at least this often; packets and commands wake at once.
POLL_S: Final = 0.05
COUNTERS_EVERY_S: Final = 1.0
#: What transactions that are over had taken goes back to the kernel this often.
TRIM_EVERY_S: Final = 20.0
#: What is said to who orders a call that its trunk's limits do not allow.
LIMITS: Final = {
    "trunk_full": "the trunk has as many calls as it may",
    "trunk_limited": "the trunk has as many new calls a second as it may",
}
#: How long the peers get to answer our BYEs at the end.
FAREWELL_S: Final = 3.0


def serve(sock: socket.socket, config: Config, log: Log) -> None:
    """Run the user agent until `Shutdown`, or until the controller is gone.

    sock: the sip end of `gateway.channel.pair`. log: takes structlog-ready dicts with `level` and `event`.
    Raises StackError when the stack does not start, for example because an address is taken.
    """
    from gateway.sip.agent import Agent  # the stack is loaded in the process that runs it, nowhere else

    process = Process(Channel(sock, events.AnyCommand), config, log)
    process.run(Agent(process))


class Process:
    """A `stack.Listener` and what answers it. clock: monotonic seconds."""

    def __init__(
        self, channel: Channel[events.AnyCommand], config: Config, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._channel = channel
        self._config = config
        self._clock = clock
        self._ledger = Ledger(log, clock)
        self._count, self._refuse, self._say = self._ledger.count, self._ledger.refuse, self._ledger.say
        self._stack: Stack
        admission = Admission(config.trunks, config.sip, secrets.token_bytes(32), lambda: secrets.token_bytes(8))
        self._door = Door(config.sip.max_message_kb * 1024, config.sip.retry_after_s, admission)
        self._within = Within(self._send, self._ledger, self._may_refer, lambda: secrets.token_bytes(KEY_BYTES), clock)
        self._calls = self._within.calls
        self._arrived: list[tuple[StackCall, str, str]] = []
        #: The trunk of the INVITE that was let in last: the stack tells of it next, or never
        self._admitted = ""
        self._names = Names(clock)
        self._names.keep(hosts(in_force(config.trunks)))
        self._roster = Roster(config, lambda: self._stack, self._send, self._ledger, clock)
        self._oversight = Oversight(config, self._send, self._say, time.time)
        self._carried: dict[str, int] = {}
        self._stopping = False
        self._trim_s = clock() + TRIM_EVERY_S

    def run(self, stack: Stack) -> None:
        """Start the stack, tell `AgentReady`, and work until told to stop. Raises StackError."""
        self._stack = stack
        self._oversight.check()
        try:
            self._send(options.ready(stack.start(options.of(self._config))))
            self._oversight.started()
            with suppress(PeerGone):
                self._loop()
            self._farewell()
        finally:
            stack.stop()
            self._channel.close()

    def _loop(self) -> None:
        poll = select.epoll()
        own = self._stack.descriptors()
        for descriptor in (*own, self._channel.fileno(), self._names.fileno()):
            poll.register(descriptor, select.EPOLLIN)
        next_second = self._clock()
        with poll:
            while not self._stopping:
                if own:
                    ready = {descriptor for descriptor, _ in poll.poll(POLL_S)}
                    self._stack.poll(0)
                else:  # a build that polls with select has no descriptor to wait on
                    self._stack.poll(int(POLL_S * 500))
                    ready = {self._channel.fileno(), self._names.fileno()}
                self.after_poll()
                if self._names.fileno() in ready:
                    self._tell_names()
                if self._channel.fileno() in ready:
                    for command in self._channel.receive():
                        self.command(command)
                    self.after_poll()
                self._channel.flush()
                if self._clock() >= next_second:
                    next_second = self._clock() + COUNTERS_EVERY_S
                    self.each_second()

    def _farewell(self) -> None:
        """BYE to everybody, and a moment for the answers."""
        for call in list(self._calls.values()):
            self._execute(call, events.Hangup(call.dialog.id, "gateway stopping"))
        self._roster.leave()
        end = self._clock() + FAREWELL_S
        while self._calls and self._clock() < end:
            self._stack.poll(10)
            self.after_poll()

    def each_second(self) -> None:
        self._oversight.each_second()
        self._ledger.counters["sources_forgotten"] = self._door.admission.sources.forgotten
        self._ledger.counters["names_slow"] = self._names.slow
        self._ledger.counters["names_refused"] = self._names.refused
        self._send(events.AgentCounters(self._ledger.counters | self._oversight.counters, len(self._calls)))
        now = self._clock()
        for report in self._door.admission.reports(now):
            event = "sip_scanner" if report.scanner else "sip_source_refused"
            self._say("warning", event, source=report.source, reason=report.reason, requests=report.requests)
        self._names.each_second()
        self._roster.each_second()
        if now >= self._trim_s:
            self._trim_s = now + TRIM_EVERY_S
            give_back_memory()
        for call, why in self._within.overdue():
            self._execute(call, events.Hangup(call.dialog.id, why))

    def _tell_names(self) -> None:
        for answer in self._names.take():
            if not answer.addresses:
                self._say("warning", "sip_name_unknown", name=headers.one_line(answer.name, 100))
            self._stack.named(*answer)

    def after_poll(self) -> None:
        """Look at the INVITEs that arrived, unless they are over already."""
        arrived, self._arrived = self._arrived, []
        for call, raw, source in arrived:
            if call.dialog.state is State.INVITED:
                self._admit(call, raw, source)

    # What the stack tells

    def asked(self, request: Request) -> Verdict:
        if request.method == "ACK":
            self._within.answered_by_ack(request.raw)
        verdict, counters = self._door.judge(request, self._clock(), self._running)
        for name in counters:
            self._count(name)
        if verdict.code not in (0, 200):
            self._oversight.turned_away(request, verdict)
            self._say("debug", "sip_refused_at_the_door", source=request.source, code=verdict.code, why=counters[-1:])
        self._admitted = verdict.account
        return verdict

    def _running(self, trunk: str) -> int:
        """Calls of a trunk, those included that have only just come, and those that lost their dialog."""
        calls = (*self._calls.values(), *(call for call, _, _ in self._arrived))
        return sum(call.dialog.trunk == trunk for call in calls) + self._carried.get(trunk, 0)

    def invited(self, call: StackCall, raw: str, source: str) -> None:
        call.dialog.trunk, self._admitted = self._admitted, ""
        call.dialog.source = source.rpartition(":")[0].strip("[]")
        self._arrived.append((call, raw, source))

    def progressed(self, call: StackCall, progress: Progress) -> None:
        self._within.progressed(call, progress)

    def description(self, call: StackCall, answering: bool) -> str:
        return self._within.description(call, answering)

    def reinvited(self, call: StackCall, raw: str) -> bool:
        return self._within.reoffered(call, raw, self._door.max_bytes)

    def updated(self, call: StackCall, offer: str) -> bool:
        return self._within.updated(call, offer)

    def heard(self, call: StackCall, raw: str) -> None:
        self._within.heard(call, raw)

    def referred(self, call: StackCall, target: str, place: Callable[[Dialog], StackCall]) -> bool:
        return self._within.referred(call, target, place)

    def transferred(self, call: StackCall, code: int, reason: str, final: bool) -> None:
        self._within.transferred(call, code, reason, final)

    def wanted(self, name: str) -> None:
        self._names.want(name)

    def registered(self, account: str, code: int, reason: str, expires_s: int) -> None:
        self._roster.answered(account, code, reason, expires_s)

    def wired(self, wire: Wire) -> None:
        self._oversight.wired(wire)

    def logged(self, level: int, text: str) -> None:
        self._count("log_lines")
        self._say("warning" if level <= 1 else "info", "sip_stack", text=text)

    def faulted(self, where: str, error: Exception) -> None:
        self._count("callback_faults")
        self._say("error", "sip_callback_fault", callback=where, error=repr(error))

    # INVITEs

    def _admit(self, call: StackCall, raw: str, source: str) -> None:
        """Look at an INVITE ourselves, then tell it or refuse it."""
        dialog = call.dialog
        self._within.enter(call)
        self._count("invites")
        if not dialog.trunk:  # a build without a door: it is asked only now, when there is a call already
            verdict = self.asked(late_request(dialog, raw))
            dialog.trunk, self._admitted = self._admitted, ""
            if verdict.code:
                self._execute(call, rejection(dialog, verdict))
                return
        try:
            seen = self._door.look(raw)
        except Refused as error:
            self._refuse(error.defect)
            self._say("info", "sip_invite_refused", source=source, reason=str(error))
            self._execute(call, rejection(dialog, refuse(error)))
            return
        dialog.offered = seen.offer is not None
        dialog.sip_call_id = seen.message.get("call-id") or ""
        dialog.told = True
        self._oversight.admitted(dialog.sip_call_id)
        self._send(invitation(dialog, seen, source))

    # Commands

    def command(self, command: events.AnyCommand) -> None:
        if isinstance(command, events.Shutdown):
            self._stopping = True
        elif isinstance(command, events.TraceWanted):
            self._oversight.trace(command)
        elif isinstance(command, events.Reconfigure):
            if config := self._oversight.reconfigure(command, self._stack):
                self._take(config)
        elif isinstance(command, events.SetReadiness):
            self._door.ready, self._door.retry_after_s = command.ready, command.retry_after_s
        elif isinstance(command, events.Carried):
            self._carried = command.calls
        elif isinstance(command, events.Dial):
            self._dial(command)
        elif call := self._calls.get(command.dialog):
            self._execute(call, command)
        else:
            self._count("late_commands")

    def _take(self, config: Config) -> None:
        """Another configuration is in force; dialogs and listeners stay as they are."""
        self._config = config
        self._door.max_bytes = config.sip.max_message_kb * 1024
        self._door.admission.reconfigure(config.trunks, config.sip)
        self._names.keep(hosts(in_force(config.trunks)))
        self._roster.reconfigure(config)

    def _may_refer(self, trunk: str) -> bool:
        found = named(self._config.trunks, trunk)
        return found is not None and found.refer == "accept"

    def _dial(self, command: events.Dial) -> None:
        dialog = Dialog(command.dialog, command.sip_call_id, State.DIALLING, pending_sdp=command.sdp, told=True)
        dialog.trunk = command.trunk
        self._count("dialled")
        if limit := self._door.admission.limit(command.trunk, self._clock(), self._running):
            self._count(limit)
            self._send(events.Ended(dialog.id, "limited", 503, LIMITS[limit]))
            return
        try:
            call = self._stack.dial(dialog, placement(command))
        except StackError as error:
            self._stack_error(dialog, error)
            self._send(events.Ended(dialog.id, "failed", 500, str(error)))
            return
        call.deadline_s = self._clock() + command.timeout_s
        self._calls[dialog.id] = call

    def _execute(self, call: StackCall, command: Any) -> None:
        before = call.dialog.state
        action = call.dialog.take(command)
        if action is None:
            self._count("late_commands")
            return
        try:
            self._act(call, action, command, before)
        except StackError as error:
            self._stack_error(call.dialog, error)
            if call.dialog.heir:  # one that the stack could not dial: nothing more will come of it
                self._within.progressed(call, Progress(Phase.OVER, 500, str(error)))
            if before is State.INVITED and action is Action.ANSWER:
                with suppress(StackError):  # our 200 could not be sent: nobody must wait for it
                    call.respond(500)

    def _act(self, call: StackCall, action: Action, command: Any, before: State) -> None:
        dialog = call.dialog
        if action is Action.PROVISIONAL:
            self._count("rung")
            early = dialog.answer(command.sdp, early=True) if command.sdp else ""
            call.respond(command.code, headers=dialog.fresh(headers.outgoing(command.headers)), sdp=early)
        elif action is Action.ANSWER:
            self._count("accepted")
            answer = dialog.answer(command.sdp, reoffered=before is State.REOFFERED)
            call.respond(200, headers=dialog.fresh(headers.outgoing(command.headers)), sdp=answer)
        elif action is Action.REFUSE:
            self._count("rejected")
            if command.code == 404 and before is State.INVITED:
                for name in self._door.admission.no_such_number(dialog.source, self._clock()):
                    self._count(name)
            call.respond(
                command.code, headers.one_line(command.reason, 100), dialog.fresh(headers.outgoing(command.headers))
            )
        elif action is Action.DECLINE:
            call.respond(480, headers={"Reason": headers.reason(command.reason)})
        elif action is Action.CLOSE:
            if heir := self._within.heir_of(call):
                self._execute(heir, command)
            call.close({"Reason": headers.reason(command.reason)})
        elif action is Action.REOFFER:
            dialog.pending_sdp = command.sdp
            call.reoffer()
        elif action is Action.TRANSFER:
            call.transfer(headers.one_line(command.target, headers.MAX_URI))

    # Telling and counting

    def _send(self, event: events.Event) -> None:
        try:
            if not self._channel.send(event):
                self._count("events_dropped")
        except PeerGone:
            self._stopping = True

    def _stack_error(self, dialog: Dialog, error: StackError) -> None:
        self._count("stack_errors")
        self._say("warning", "sip_stack_error", sip_call_id=dialog.sip_call_id, error=str(error))
