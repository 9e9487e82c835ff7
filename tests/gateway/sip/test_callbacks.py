"""The door, the tap and the log as pjsua2 calls them, and that nothing of ours unwinds through the stack."""

from types import SimpleNamespace

import pytest

from gateway.sip import callbacks
from gateway.sip.stack import LET_IN, Request, Verdict, Wire


class Listener:
    """Notes what it is told, or fails at it."""

    def __init__(self, verdict=LET_IN, fails=False):
        self.verdict, self.fails = verdict, fails
        self.told = []

    def _note(self, *what):
        if self.fails:
            raise ValueError("a defect")
        self.told.append(what)

    def logged(self, level, text):
        self._note(level, text)

    def asked(self, request):
        self._note(request)
        return self.verdict

    def wired(self, wire):
        self._note(wire)

    def wanted(self, name):
        self._note(name)

    def faulted(self, where, error):
        self.told.append((where, repr(error)))


def asked(listener):
    gate = callbacks.gate(listener)
    prm = SimpleNamespace(
        method="OPTIONS", source="10.0.0.1", port=5060, transport="UDP", toTag=False, inDialog=False, wholeMsg="raw"
    )
    prm.code, prm.reason, prm.headers = 0, "", []
    gate.onRequest(prm)
    return gate, prm


def test_the_door_passes_on_the_verdict():
    verdict = Verdict(401, "No", {"Retry-After": "5"}, challenges=("Digest a", "Digest b"))
    listener = Listener(verdict)
    _, prm = asked(listener)
    assert listener.told == [(Request("OPTIONS", "10.0.0.1", 5060, "UDP", False, False, "raw"),)]
    assert (prm.code, prm.reason) == (401, "No")
    assert [(header.hName, header.hValue) for header in prm.headers] == [
        ("Retry-After", "5"),
        ("WWW-Authenticate", "Digest a"),
        ("WWW-Authenticate", "Digest b"),
    ]


def test_who_is_let_in_is_taken_as_the_account_that_was_chosen():
    gate, prm = asked(Listener(Verdict(LET_IN.code, account="office")))
    assert (gate.chosen, prm.code) == ("office", 0)


def test_a_message_at_the_wire():
    listener = Listener()
    prm = SimpleNamespace(
        sent=True, transport="TCP", localHost="a", localPort=1, remoteHost="b", remotePort=2, callId="c", wholeMsg="raw"
    )
    callbacks.tap(listener).onMessage(prm)
    assert listener.told == [(Wire(True, "TCP", ("a", 1), ("b", 2), "c", "raw"),)]


def test_a_line_of_the_stacks_log_is_one_line():
    listener = Listener()
    callbacks.LogWriter(listener).write(SimpleNamespace(level=1, msg="one\r\ntwo"))
    assert listener.told == [(1, "one two")]


@pytest.mark.parametrize("code", [0, 200])
def test_a_defect_of_ours_is_told_and_goes_no_further(code):
    listener = Listener(Verdict(code), fails=True)
    asked(listener)
    assert listener.told == [("onRequest", "ValueError('a defect')")]


def test_a_name_that_is_wanted():
    listener = Listener()
    callbacks.names(listener).onWanted("pbx.example")
    assert listener.told == [("pbx.example",)]
