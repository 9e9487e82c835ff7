"""gateway/sessions/lifecycle.py"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.lifecycle import TABLE, Event, Lifecycle, Limits, Status


def at(status: Status) -> Lifecycle:
    return Lifecycle(Limits(300, 1800), alive_at=0.0, status=status)


@pytest.mark.parametrize(("status", "event"), list(itertools.product(Status, Event)))
def test_every_event_in_every_status(status: Status, event: Event) -> None:
    life = at(status)
    changed = life.handle(event, 10.0, "because")
    expected = TABLE.get((status, event), status)
    assert life.status is expected
    assert changed == (expected is not status)
    assert life.unexpected == ({} if (status, event) in TABLE else {(status, event): 1})


def test_a_whole_life() -> None:
    life = at(Status.CREATED)
    assert life.active_seconds(5.0) == 0
    assert life.handle(Event.ATTACHED, 1.0)
    assert life.handle(Event.AUDIO, 2.0)
    assert not life.handle(Event.AUDIO, 3.0)
    assert life.active_seconds(5.0) == 3.0
    assert life.handle(Event.END, 6.0, "explicit_end")
    assert life.handle(Event.FINALIZED, 7.0)
    assert (life.started_at, life.ended_at, life.end_reason) == (2.0, 6.0, "explicit_end")
    assert life.active_seconds(100.0) == 4.0


@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(0, 100)), max_size=30))
def test_ending_happens_once_and_keeps_its_reason(events: list[tuple[Event, float]]) -> None:
    life = at(Status.CREATED)
    entered = 0
    now = 0.0
    for number, (event, step) in enumerate(events):
        now += step
        changed = life.handle(event, now, f"reason {number}" if event is Event.END else None)
        if changed and life.status is Status.ENDING:
            entered += 1
            reason = life.end_reason
    assert entered <= 1
    if entered:
        assert life.end_reason == reason
        assert life.ended_at is not None


def test_the_reconnection_window() -> None:
    life = at(Status.CREATED)
    life.handle(Event.ATTACHED, 0.0)
    assert life.due(1799.9) is None
    life.handle(Event.DETACHED, 100.0)
    assert life.due(399.9) is None
    assert life.due(400.0) == "timeout"
    life.handle(Event.ATTACHED, 399.0)
    assert life.due(400.0) is None


def test_inactivity_counts_from_the_last_sign_of_life() -> None:
    life = at(Status.CREATED)
    assert life.due(1799.9) is None
    assert life.due(1800.0) == "timeout"
    life.touch(1000.0)
    assert life.due(2799.9) is None
    assert life.due(2800.0) == "timeout"


@pytest.mark.parametrize("status", [Status.ENDING, Status.ENDED])
def test_what_ends_is_not_due(status: Status) -> None:
    assert at(status).due(1e9) is None
