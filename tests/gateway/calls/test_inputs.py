"""Every input means something in some state."""

from __future__ import annotations

from gateway.calls import inputs
from gateway.calls.outgoing import OutgoingCall


def test_every_input_has_a_rule_somewhere() -> None:
    assert {event for _, event in OutgoingCall.table} == set(inputs.Input.__subclasses__())


def test_inputs_compare_by_what_they_say() -> None:
    assert inputs.LegOpened(2) == inputs.LegOpened(2)
    assert inputs.LegOpened(2) != inputs.LegOpened(4)
