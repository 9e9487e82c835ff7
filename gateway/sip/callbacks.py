"""What the stack calls beside accounts and calls: its log, the door for requests, the tap at the wire, names of hosts.

All but the log are of the build of tools/build-pjsua2; the wheel on PyPI has none of them. Owns how they are told to
the listener, and that no exception of ours unwinds through the C stack. Refuses to know what the listener makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pjsua2 as pj

from gateway.sip import headers, objects
from gateway.sip.stack import Listener, Request, Wire


def guarded(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """A callback whose defect is told: an exception must not unwind through the C stack."""

    @wraps(method)
    def call(self: Any, prm: Any) -> None:
        try:
            method(self, prm)
        except Exception as error:
            self.listener.faulted(method.__name__, error)

    return call


class LogWriter(pj.LogWriter):  # type: ignore[misc]
    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener

    @guarded
    def write(self, entry: Any) -> None:
        self.listener.logged(entry.level, headers.one_line(entry.msg, 400))


if hasattr(pj, "RequestGate"):

    class Gate(pj.RequestGate):  # type: ignore[misc]
        """The door of the build of tools/build-pjsua2: requests before pjsua sees them."""

        def __init__(self, listener: Listener) -> None:
            super().__init__()
            self.listener = listener
            self.chosen = ""

        @guarded
        def onRequest(self, prm: Any) -> None:
            verdict = self.listener.asked(
                Request(prm.method, prm.source, prm.port, prm.transport, prm.toTag, prm.inDialog, prm.wholeMsg)
            )
            self.chosen = verdict.account
            if verdict.code:
                prm.code, prm.reason = verdict.code, verdict.reason
                objects.add_headers(prm.headers, verdict.headers)
                for challenge in verdict.challenges:
                    objects.add_headers(prm.headers, {"WWW-Authenticate": challenge})


if hasattr(pj, "MessageTap"):

    class Tap(pj.MessageTap):  # type: ignore[misc]
        """The wire of the same build."""

        def __init__(self, listener: Listener) -> None:
            super().__init__()
            self.listener = listener

        @guarded
        def onMessage(self, prm: Any) -> None:
            local, remote = (prm.localHost, prm.localPort), (prm.remoteHost, prm.remotePort)
            self.listener.wired(Wire(prm.sent, prm.transport, local, remote, prm.callId, prm.wholeMsg))


if hasattr(pj, "HostNames"):

    class HostNames(pj.HostNames):  # type: ignore[misc]
        """What the same build asks in place of the system's resolver, which would make all signalling wait."""

        def __init__(self, listener: Listener) -> None:
            super().__init__()
            self.listener = listener

        @guarded
        def onWanted(self, name: str) -> None:
            self.listener.wanted(name)


def gate(listener: Listener) -> Any:
    """The door, to be installed; None: this build has none."""
    return Gate(listener) if hasattr(pj, "RequestGate") else None


def names(listener: Listener) -> Any:
    """The table of names, to be installed; None: this build asks the system, and waits for it."""
    return HostNames(listener) if hasattr(pj, "HostNames") else None


def tap(listener: Listener) -> Any:
    """The tap, to be installed; None: this build has none."""
    return Tap(listener) if hasattr(pj, "MessageTap") else None
