"""The table of a dialog: every command in every state, and the name of every end."""

import itertools

import pytest

from gateway.sip import events
from gateway.sip.dialogs import TABLE, Action, Dialog, State

COMMANDS = [
    events.Ring(1),
    events.Accept(1, "v=0"),
    events.Reject(1, 404),
    events.Hangup(1),
    events.Offer(1, "v=0"),
    events.Refer(1, "sip:x"),
]


def dialog(state=State.INVITED, **fields):
    return Dialog(1, "c", state, **fields)


@pytest.mark.parametrize(("state", "command"), list(itertools.product(State, COMMANDS)))
def test_every_command_in_every_state(state, command):
    it = dialog(state)
    action = it.take(command)
    step = TABLE.get((state, type(command)))
    if step is None:
        assert (action, it.state) == (None, state)
    else:
        assert (action, it.state) == step


def test_an_ended_dialog_takes_nothing():
    assert not [key for key in TABLE if key[0] is State.ENDED]


def test_a_call_from_invite_to_hangup():
    it = dialog()
    actions = [it.take(c) for c in (events.Ring(1), events.Accept(1, "v=0"))]
    assert actions == [Action.PROVISIONAL, Action.ANSWER]
    assert it.take(events.Accept(1, "v=0")) is None
    it.state = State.CONFIRMED
    assert it.take(events.Hangup(1)) is Action.CLOSE
    assert it.end(200) == "local"
    assert it.state is State.ENDED


@pytest.mark.parametrize(
    ("state", "code", "cause"),
    [
        (State.INVITED, 487, "cancelled"),
        (State.INVITED, 488, "failed"),
        (State.DIALLING, 486, "failed"),
        (State.DIALLING, 408, "timeout"),
        (State.ANSWERED, 408, "timeout"),
        (State.ANSWERED, 200, "bye"),
        (State.CONFIRMED, 200, "bye"),
        (State.CONFIRMED, 500, "failed"),
        (State.REOFFERED, 200, "bye"),
    ],
)
def test_what_the_peer_did(state, code, cause):
    assert dialog(state).end(code) == cause


def test_what_we_did():
    refused, declined = dialog(), dialog()
    refused.take(events.Reject(1, 404))
    declined.take(events.Hangup(1))
    assert (refused.end(404), declined.end(480)) == ("rejected", "local")


def test_refusing_a_reinvite_does_not_end_the_call():
    it = dialog(State.REOFFERED)
    assert it.take(events.Reject(1, 488)) is Action.REFUSE
    assert it.state is State.CONFIRMED
    assert it.end(200) == "bye"


def test_an_answer_goes_along_once():
    it = dialog()
    assert it.answer("early", early=True) == "early"
    assert it.answer("other") == ""
    assert it.local_sdp == "early"
    assert it.answer("new", reoffered=True) == "new"


def test_an_offer_of_ours_waits_for_the_stack():
    it = dialog(offered=False)
    assert it.answer("early", early=True) == ""
    assert (it.answer("ours"), it.pending_sdp, it.describe()) == ("", "ours", "ours")
    assert it.answer("new", reoffered=True) == "new"


def test_a_description_is_taken_once():
    it = dialog(pending_sdp="new", local_sdp="old")
    assert (it.describe(), it.describe(), it.local_sdp) == ("new", "new", "new")


def test_a_header_is_said_once_in_a_transaction():
    it = dialog()
    assert it.fresh([("X-Session-ID", "s")]) == {"X-Session-ID": "s"}
    assert it.fresh([("x-session-id", "s"), ("X-B", "1")]) == {"X-B": "1"}
