from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.restart import BACKOFF_S, PER_MINUTE, RestartPolicy


def test_after_a_good_life_at_once() -> None:
    policy = RestartPolicy()
    for now in range(0, 300, 10):
        policy.healthy()
        assert policy.died(now) == 0.0


def test_one_that_never_gets_healthy_waits_longer_and_is_given_up() -> None:
    policy = RestartPolicy()
    assert [policy.died(now) for now in range(6)] == [*BACKOFF_S, None]


def test_one_that_was_healthy_once_gets_the_same_patience_later() -> None:
    policy = RestartPolicy()
    policy.healthy()
    assert [policy.died(now) for now in range(5)] == [0.0, *BACKOFF_S[1:]]
    assert policy.died(5) is None


def test_hopeless_counts_only_before_the_first_good_life() -> None:
    assert RestartPolicy().died(0, hopeless=True) is None
    policy = RestartPolicy()
    policy.healthy()
    assert policy.died(0, hopeless=True) == 0.0


def test_dying_all_the_time_is_given_up() -> None:
    policy = RestartPolicy()
    outcomes = []
    for i in range(PER_MINUTE + 1):
        policy.healthy()
        outcomes.append(policy.died(i))
    assert outcomes == [0.0] * PER_MINUTE + [None]


@given(st.lists(st.tuples(st.floats(2.1, 100), st.booleans()), max_size=100))
def test_deaths_more_than_two_seconds_apart_never_end_a_healthy_daemon(lives: list[tuple[float, bool]]) -> None:
    policy, now = RestartPolicy(), 0.0
    for life, hopeless in lives:
        now += life
        policy.healthy()
        assert policy.died(now, hopeless=hopeless) == 0.0
