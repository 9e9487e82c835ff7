"""The rule of overload: it takes some bad seconds to begin and more good ones to end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.overload import Rule, Second
from gateway.transports import Overload

SETTINGS = Overload(late_ms=12, late_percent=10, cpu_percent=90, after_s=3, recover_s=4)
FINE = Second(250, 0, 0, 20.0)
LATE = Second(250, 30, 0, 20.0)
BUSY = Second(250, 0, 0, 95.0)
BETWEEN = Second(250, 20, 0, 85.0)  # below the limits, not well below them


def told(rule: Rule, *seconds: Second) -> list[bool]:
    return [rule.observe(second) for second in seconds]


def test_three_bad_seconds_in_a_row_begin_it() -> None:
    rule = Rule(SETTINGS)
    assert told(rule, LATE, LATE, FINE, LATE, BUSY) == [False] * 5
    assert not rule.overloaded
    assert told(rule, LATE) == [True]
    assert rule.overloaded
    assert rule.reason == "12 % of the media loop's slots are later than 12 ms"


def test_four_good_seconds_in_a_row_end_it() -> None:
    rule = Rule(SETTINGS)
    told(rule, BUSY, BUSY, BUSY)
    assert rule.reason == "the CPUs are busy for 95 % of the time"
    assert told(rule, FINE, FINE, FINE, BETWEEN, FINE, FINE, FINE) == [False] * 7
    assert rule.overloaded
    assert told(rule, FINE) == [True]
    assert not rule.overloaded
    assert rule.reason == ""


def test_what_lies_between_changes_nothing() -> None:
    rule = Rule(SETTINGS)
    assert not any(told(rule, *[BETWEEN] * 50))
    told(rule, LATE, LATE, LATE)
    assert not any(told(rule, *[BETWEEN] * 50))
    assert rule.overloaded


def test_missed_slots_are_late_ones() -> None:
    assert Second(225, 0, 25, None).late_percent == 10.0
    assert Second(0, 0, 0, None).late_percent == 0.0  # no call, nothing to be late for


def test_without_a_measure_of_the_cpu_lateness_decides() -> None:
    rule = Rule(SETTINGS)
    unknown = LATE._replace(cpu_percent=None)
    told(rule, unknown, unknown, unknown)
    assert rule.overloaded
    assert told(rule, *[FINE._replace(cpu_percent=None)] * 4)[-1]


def test_switched_off_it_ends_and_does_not_begin() -> None:
    rule = Rule(SETTINGS)
    told(rule, LATE, LATE, LATE)
    rule.settings = SETTINGS.model_copy(update={"enabled": False})
    assert told(rule, LATE) == [True]
    assert not any(told(rule, *[LATE] * 10))


@given(st.lists(st.sampled_from([FINE, LATE, BUSY, BETWEEN]), max_size=60))
def test_it_never_flutters(seconds: list[Second]) -> None:
    rule = Rule(SETTINGS)
    changes = [at for at, second in enumerate(seconds) if rule.observe(second)]
    gaps = [b - a for a, b in pairwise(changes)]
    assert all(gap >= SETTINGS.after_s for gap in gaps)
    assert all(gap >= SETTINGS.recover_s for gap in gaps[::2])
    assert rule.overloaded == bool(len(changes) % 2)
