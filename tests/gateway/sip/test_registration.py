"""When we register, on a clock of our own."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import events
from gateway.sip.registration import PATIENCE_S, REFRESH_AT, Registrations, Schedule, State
from gateway.trunks import Registration, Trunk

TERMS = Registration(expires_s=300, retry_first_s=2, retry_max_s=60)


def trunk(name: str = "office") -> Trunk:
    return Trunk.model_validate({"name": name, "outbound": {"host": "192.0.2.1"}, "registration": {"expires_s": 300}})


def test_it_registers_at_once_and_again_before_it_expires() -> None:
    schedule = Schedule(TERMS, Random(1), 100.0)
    assert schedule.wants(100.0)
    assert schedule.state is State.TRYING
    schedule.answered(200, "OK", 120, 101.0)
    assert (schedule.state, schedule.expires_s) == (State.REGISTERED, 120)
    low, high = REFRESH_AT
    assert 101.0 + 120 * low <= schedule.due_at <= 101.0 + 120 * high
    assert not schedule.wants(schedule.due_at - 0.001)
    assert schedule.wants(schedule.due_at)
    assert schedule.state is State.REGISTERED  # it holds while it is refreshed


def test_failures_wait_longer_and_longer_up_to_the_bound() -> None:
    schedule, now, waits = Schedule(TERMS, Random(1), 0.0), 0.0, []
    for _ in range(10):
        assert schedule.wants(now)
        schedule.answered(503, "Service Unavailable", 0, now)
        assert schedule.state is State.FAILED
        waits.append(schedule.due_at - now)
        now = schedule.due_at
    for wait, whole in zip(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60], strict=True):
        assert whole / 2 <= wait <= whole
    assert schedule.wants(now)
    schedule.answered(200, "OK", 300, now)
    assert schedule.failures == 0


@pytest.mark.parametrize("code", [401, 403, 404, 407])
def test_wrong_credentials_wait_the_longest_at_once(code: int) -> None:
    schedule = Schedule(TERMS, Random(1), 0.0)
    schedule.wants(0.0)
    schedule.answered(code, "no", 0, 0.0)
    assert 30 <= schedule.due_at <= 60


@pytest.mark.parametrize("refreshing", [False, True])
def test_an_answer_that_never_comes_is_a_failure(refreshing: bool) -> None:
    schedule, now = Schedule(TERMS, Random(1), 0.0), 0.0
    assert schedule.wants(now)
    if refreshing:
        schedule.answered(200, "OK", 300, now)
        now = schedule.due_at
        assert schedule.wants(now)
    assert not schedule.wants(now + PATIENCE_S - 1)
    assert not schedule.wants(now + PATIENCE_S)
    assert (schedule.state, schedule.code) == (State.FAILED, 408)


@given(st.lists(st.tuples(st.integers(100, 699), st.integers(0, 4000)), max_size=40), st.integers())
def test_whatever_is_answered_another_trial_follows_in_bounded_time(answers: list[tuple[int, int]], seed: int) -> None:
    schedule, now = Schedule(TERMS, Random(seed), 0.0), 0.0
    for code, expires_s in answers:
        assert schedule.wants(now)
        schedule.answered(code, "", expires_s, now)
        assert now < schedule.due_at <= now + max(TERMS.retry_max_s, expires_s)
        now = schedule.due_at


class Rig:
    def __init__(self, *trunks: Trunk) -> None:
        self.sent: list[tuple[str, bool]] = []
        self.told: list[events.RegistrationChanged] = []
        self.works = True
        self.all = Registrations(trunks, self.register, self.told.append, Random(1), 0.0)

    def register(self, name: str, active: bool) -> bool:
        self.sent.append((name, active))
        return self.works


def test_news_is_told_and_only_news() -> None:
    rig = Rig(trunk(), Trunk(name="plain", allow=("10.0.0.0/8",)))
    for now in (0.0, 1.0):
        rig.all.tick(now)
    assert rig.sent == [("office", True)]
    assert [told.state for told in rig.told] == ["trying"]
    rig.all.answered("office", 200, "OK", 300, 2.0)
    assert rig.told[-1] == events.RegistrationChanged("office", "registered", 200, "OK", 300)
    rig.all.answered("plain", 200, "OK", 300, 2.0)
    assert len(rig.told) == 2


def test_a_stack_that_can_not_send_is_a_failure() -> None:
    rig = Rig(trunk())
    rig.works = False
    rig.all.tick(0.0)
    assert (rig.told[-1].state, rig.told[-1].code) == ("failed", 503)


def test_leaving_says_goodbye_where_we_are_registered() -> None:
    rig = Rig(trunk("a"), trunk("b"))
    rig.all.tick(0.0)
    rig.all.answered("a", 200, "OK", 300, 1.0)
    rig.all.leave()
    rig.all.tick(1000.0)
    assert [sent for sent in rig.sent if not sent[1]] == [("a", False)]
    assert len(rig.sent) == 3
