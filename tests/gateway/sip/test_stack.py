"""The border's promises that types alone do not keep."""

import inspect

from gateway.sip.process import Process
from gateway.sip.stack import DROP, LET_IN, Listener, Phase, Progress, Stack, StackCall


def methods(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_process_hears_all_that_a_stack_tells():
    assert methods(Listener) <= methods(Process)


def test_the_agent_does_all_that_is_asked_of_a_stack():
    from gateway.sip.agent import Agent, Call

    assert methods(Stack) <= methods(Agent)
    assert methods(StackCall) <= methods(Call)


def test_a_verdict_lets_in_drops_or_answers():
    assert (LET_IN.code, DROP.code) == (0, -1)


def test_progress_may_have_no_message_behind_it():
    assert Progress(Phase.OVER, 408, "Request Timeout").raw == ""
