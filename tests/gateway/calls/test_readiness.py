"""Each thing that keeps calls out is said, in /readyz, to OPTIONS and to the call."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.calls.readiness import Readiness
from gateway.errors import Fault

READY = Readiness(draining=False, overload="", sip=True, rtp=True, sessions=True)


def test_ready_takes_a_call() -> None:
    assert READY.reasons() == []
    assert READY.options
    assert READY.refusal(0, 1, unknown=False) is None


@pytest.mark.parametrize(
    ("change", "reason", "options", "fault"),
    [
        ({"draining": True}, "draining", False, Fault.DRAINING),
        ({"overload": "too late"}, "overloaded: too late", False, Fault.OVERLOADED),
        ({"sip": False}, "the sip process is not ready", True, Fault.CAPACITY),
        ({"rtp": False}, "the rtp process is not ready", False, Fault.CAPACITY),
        ({"sessions": False}, "the session service does not answer", True, None),
    ],
)
def test_what_keeps_calls_out_is_said(change: dict[str, Any], reason: str, options: bool, fault: Fault | None) -> None:
    state = READY._replace(**change)
    refusal = state.refusal(0, 1, unknown=False)
    assert state.reasons() == [reason]
    assert state.options is options
    assert (refusal and refusal.fault) is fault
    assert refusal is None or fault is None or fault.value.retry


def test_a_full_gateway_and_a_number_that_nobody_knows() -> None:
    full, unknown = READY.refusal(5, 5, unknown=True), READY.refusal(4, 5, unknown=True)
    assert full is not None
    assert unknown is not None
    assert (full.fault, unknown.fault) == (Fault.CAPACITY, Fault.SESSION_NOT_FOUND)
