"""The signalling bench: what it calls a fault."""

from __future__ import annotations

from typing import Any

import pytest
from rig import signalling
from rig.signalling import Plan, Sample, growth, judge
from rig.signalling_cli import arguments, text

GOOD: dict[str, Any] = {
    "plan": {"calls": 100, "rate": 10.0, "hold_s": 1.0, "media": True},
    "most_dialogs": 11.0,
    "setup": {"rate": 10.0, "p50_ms": 5.0, "p99_ms": 9.0},
    "failed": 0,
    "refused": {},
    "retransmissions": 0,
    "cpu_ms_per_call": {"total": 1.0, "sip": 1.0},
    "rss_mb": {"sip": 80.0},
    "packets": {"in": 500.0, "out": 400.0},
    "left": {"descriptors": {"sip": 0}, "ports": 0.0} | dict.fromkeys(signalling.LEFT, 0.0),
    "rss_growth_mb": {"sip": 1.0},
}


def test_a_good_run_has_no_fault() -> None:
    assert judge(GOOD, same=True) == []
    assert "passed" in text("churn", GOOD | {"faults": []})


@pytest.mark.parametrize(
    "bad",
    [
        {"failed": 1},
        {"retransmissions": 1},
        {"cpu_ms_per_call": {"total": 9.0, "sip": signalling.CPU_MS + 0.1}},
        *({"left": GOOD["left"] | {name: 1.0}} for name in (*signalling.LEFT, "ports")),
        {"packets": {"in": 500.0, "out": 0.0}},
        {"left": GOOD["left"] | {"descriptors": {"sip": 100}}},
        {"rss_growth_mb": {"sip": signalling.GROWTH_MB + 1}},
    ],
)
def test_each_fault_is_one(bad: dict[str, Any]) -> None:
    (fault,) = judge(GOOD | bad, same=True)
    assert fault in text("churn", GOOD | bad | {"faults": [fault]})


def test_a_process_that_ended_is_a_fault() -> None:
    assert judge(GOOD, same=False) == ["a process ended"]


def test_memory_is_compared_with_what_it_was_when_everything_had_been_done_once() -> None:
    samples = [Sample(over, {"sip": rss}) for over, rss in ((0, 50.0), (2100, 80.0), (9000, 82.0), (20000, 83.0))]
    assert growth(samples) == {"sip": 3.0}
    assert growth(samples[:2]) == {}


def test_how_many_are_up_at_once() -> None:
    assert Plan(2000, 100.0, 10.0).concurrent == 1001
    assert Plan(5, 100.0, 10.0).concurrent == 5


def test_arguments() -> None:
    assert arguments(["churn", "--rate", "5"]).run == "churn"
    with pytest.raises(SystemExit):
        arguments(["--calls", "0"])
