"""What the sip process does for those who watch over it: the trace of the wire, the certificate that is shown, another
configuration, and word of calls that a process before this one has left behind.

Owns these four and the bounds of each. Refuses to know dialogs and what a call is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.config import Config
from gateway.sip import events, headers, tls
from gateway.sip.pieces import Collector
from gateway.sip.stack import Request, Stack, StackError, Verdict, Wire
from gateway.sip.trace import tracer

#: BYEs for dialogs that are not ours of which the controller is told each second.
STRAYS_PER_S: Final = 100


class Oversight:
    """send: tells the controller. say: a log line. wall: Unix seconds."""

    def __init__(
        self, config: Config, send: Callable[[events.Event], None], say: Callable[..., Any], wall: Callable[[], float]
    ) -> None:
        self._config = config
        self._send = send
        self._wall = wall
        self._tracer = tracer(config.sip.trace, lambda why: say("warning", "sip_trace", reason=why))
        self._pieces = Collector()
        self._strays = 0
        self._certificate: events.CertificateTaken | None = None

    @property
    def counters(self) -> dict[str, int]:
        return self._tracer.exported

    def check(self) -> None:
        """Before the stack starts. Raises StackError when a transport would have nothing to show."""
        self._certificate = tls.check(self._config, self._wall())
        if self._certificate is not None and self._certificate.problem:
            raise StackError(self._certificate.problem)

    def started(self) -> None:
        """The stack runs, and shows what was checked."""
        if self._certificate is not None:
            self._send(self._certificate)

    def wired(self, wire: Wire) -> None:
        self._tracer.take(wire, int(self._wall() * 1_000_000))

    def admitted(self, sip_call_id: str) -> None:
        """A dialog is a call: its messages have a better place than those of strangers."""
        self._tracer.memory.admit(sip_call_id)

    def turned_away(self, request: Request, verdict: Verdict) -> None:
        """The door has answered a request by itself."""
        if verdict.code == 481 and request.method == "BYE" and self._strays < STRAYS_PER_S:
            self._strays += 1
            self._send(events.Stray(headers.value_of(request.raw, "call-id"), request.source))

    def each_second(self) -> None:
        self._strays = 0

    def trace(self, wanted: events.TraceWanted) -> None:
        self._send(self._tracer.answer(wanted))

    def reconfigure(self, piece: events.Reconfigure, stack: Stack) -> Config | None:
        """A piece of another configuration: the whole of it with the last one, the certificates taken up."""
        config = self._pieces.take(piece)
        if config is not None:
            self._config = config
            self._certificate = tls.renew(stack, config, self._wall())
            self.started()
        return config
