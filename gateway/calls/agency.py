"""The sip process as the controller knows it: what it is and carries, what it counts, and what it left behind.

Owns its news that belong to no call, and the calls whose dialogs went with a process before this one. Refuses to know
what a call does with what it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gateway.calls import inputs
from gateway.calls.addresses import host_of
from gateway.calls.runner import Runner
from gateway.calls.traces import Traces
from gateway.ops.feed import AgentFeed
from gateway.ops.logs import Log
from gateway.sip import events as sip

News = sip.AgentReady | sip.AgentCounters | sip.Stray | sip.Traced | sip.CertificateTaken


class Agency:
    """feed: to the metrics. send: a command to the sip process. ready: called when it listens."""

    def __init__(self, feed: AgentFeed, log: Log, send: Callable[[Any], None], ready: Callable[[], None]) -> None:
        self.agent: sip.AgentReady | None = None
        self.traces = Traces(send)
        self._feed = feed
        self._log = log
        self._send = send
        self._ready = ready
        self._orphans: dict[str, Runner] = {}  # by Call-ID

    def lost(self, calls: Iterable[Runner]) -> None:
        """The process is gone. calls: those that had a dialog there."""
        self.agent = None
        self._feed.restarted()
        self._orphans |= {runner.identity.sip_call_id: runner for runner in calls}

    def attached(self) -> None:
        """A fresh process; it reads this before the first INVITE."""
        if self._orphans:
            self._hand_over()

    def over(self, runner: Runner) -> None:
        """A call has ended."""
        if self._orphans.pop(runner.identity.sip_call_id, None) is not None:
            self._hand_over()
        self.traces.over(runner.call_id, runner.identity.sip_call_id)

    def take(self, event: News) -> None:
        """News of the process itself."""
        match event:
            case sip.AgentCounters():
                self._feed.absorb(event)
            case sip.AgentReady():
                self.agent = event
                self._feed.ready(event)
                self._ready()
                self._log.info("sip_ready", listening=event.listening, version=event.version)
                for note in self.notes():
                    self._log.warning("ready_with_a_note", note=note)
            case sip.Traced():
                self.traces.answered(event)
            case sip.Stray():
                self._stray(event)
            case sip.CertificateTaken():
                self._feed.certificate(event)
                if event.problem:
                    self._log.error("certificate_not_taken", problem=event.problem)

    def notes(self) -> list[str]:
        """What an operator should know though calls are taken."""
        if self.agent is None or self.agent.fit_for_network:
            return []
        return [f"this pjsua2 build is not fit for a network and carries {self.agent.max_calls} calls"]

    def _hand_over(self) -> None:
        """A trunk's limit holds for calls that only we know of, too."""
        self._send(sip.Carried(dict(Counter(runner.trunk for runner in self._orphans.values()))))

    def _stray(self, event: sip.Stray) -> None:
        """A BYE for a dialog that was lost with its process: the peer has ended the call all the same."""
        runner = self._orphans.get(event.sip_call_id)
        if runner is not None and host_of(runner.identity.source) == host_of(event.source):
            runner.feed(inputs.PeerGone("bye"))
