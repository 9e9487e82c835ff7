from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.resilience import Breaker, Limits, State, backoff_s

LIMITS = Limits(failures=3, rest_s=5.0, longest_rest_s=15.0)


def opened() -> Breaker:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        assert breaker.admit(0.0)
        breaker.failed(0.0)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = opened()
    assert breaker.state is State.OPEN
    assert not breaker.admit(4.9)


def test_a_success_between_starts_the_count_again() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(10):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_after_the_rest_one_probe_passes_and_closes_it() -> None:
    breaker = opened()
    assert breaker.admit(5.0)
    assert breaker.state is State.HALF_OPEN
    assert not breaker.admit(5.0)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert breaker.admit(5.0)
    assert breaker.admit(5.0)


def test_a_failed_probe_doubles_the_rest_up_to_a_bound() -> None:
    breaker = opened()
    now, rests = 5.0, []
    for _ in range(4):
        assert breaker.admit(now)
        breaker.failed(now)
        began = now
        while breaker.rests(now):
            now += 0.5
        rests.append(now - began)
    assert rests == [10.0, 15.0, 15.0, 15.0]
    breaker.admit(now)
    breaker.succeeded()
    for _ in range(3):
        breaker.failed(now)
    assert not breaker.rests(now + 5.0)


def test_a_probe_that_is_given_up_leaves_room_for_the_next() -> None:
    breaker = opened()
    assert breaker.admit(5.0)
    breaker.gave_up()
    assert breaker.admit(5.1)


def test_a_probe_that_is_never_answered_for_is_forgotten() -> None:
    breaker = opened()
    assert breaker.admit(5.0)
    assert not breaker.admit(9.9)
    assert breaker.admit(10.0)


def test_late_answers_of_requests_from_before_change_nothing() -> None:
    breaker = opened()
    breaker.failed(1.0)
    breaker.succeeded()
    assert breaker.state is State.OPEN
    assert not breaker.admit(4.9)
    assert breaker.admit(5.0)


def test_every_change_is_told_once() -> None:
    told: list[tuple[State, State]] = []
    breaker = Breaker(LIMITS, lambda before, after: told.append((before, after)))
    for now in (0.0, 0.0, 0.0, 0.0):
        breaker.failed(now)
    breaker.admit(5.0)
    breaker.succeeded()
    breaker.succeeded()
    assert told == [
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
    ]


@given(st.lists(st.tuples(st.sampled_from(["admit", "ok", "bad", "gone"]), st.floats(0, 20)), max_size=60))
def test_it_never_rests_for_longer_than_its_bound(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(LIMITS), 0.0
    for step, wait in steps:
        now += wait
        {
            "admit": lambda at=now: breaker.admit(at),
            "ok": breaker.succeeded,
            "bad": lambda at=now: breaker.failed(at),
            "gone": breaker.gave_up,
        }[step]()
        assert not breaker.rests(now + LIMITS.longest_rest_s)


@given(st.integers(0, 50), st.floats(0, 1))
def test_waits_grow_within_their_bounds(attempt: int, chance: float) -> None:
    assert 0.05 <= backoff_s(attempt, chance) <= 2.0
    assert backoff_s(attempt, 0.0) == backoff_s(attempt, 1.0) / 2
