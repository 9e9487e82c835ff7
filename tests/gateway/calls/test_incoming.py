"""What only a call that comes to us does; `test_call.py` goes through every state and input."""

from __future__ import annotations

from gateway.calls import actions as do
from gateway.calls import inputs
from gateway.calls.call import COMMON, State
from gateway.calls.incoming import IncomingCall
from tests.gateway.calls.test_call import in_state


def test_a_caller_may_give_up_and_a_callee_may_not() -> None:
    assert {rule for rule in IncomingCall.table if rule not in COMMON} == {
        (state, kind) for state in (State.RESOLVING, State.PREPARING) for kind in (inputs.PeerGone, inputs.Reinvited)
    }


def test_it_never_dials() -> None:
    story = in_state(State.RESOLVING)
    assert story.tell(inputs.Answered(None)) == []
    assert story.call.unexpected == 1
    assert not any(isinstance(action, do.Dial) for action in story.done)
