import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtp.ports import PortPool

SECOND = 1_000_000_000


def pool(first: int = 20000, last: int = 20009, rest_s: int = 30, seed: int = 1) -> PortPool:
    return PortPool(first, last, rest_s * SECOND, random.Random(seed).randrange)


@pytest.mark.parametrize(
    ("first", "last", "ports"),
    [
        (20000, 20009, [20000, 20002, 20004, 20006, 20008]),
        (20001, 20008, [20002, 20004, 20006]),
        (65534, 65535, [65534]),
    ],
)
def test_only_whole_even_odd_pairs(first: int, last: int, ports: list[int]) -> None:
    p = pool(first, last)
    assert sorted(p.take(0) or 0 for _ in ports) == ports
    assert p.take(0) is None


@pytest.mark.parametrize(("first", "last"), [(0, 10), (10, 9), (5, 5), (65535, 65535), (1, 70000), (-4, 8)])
def test_a_range_without_a_pair_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match=f"{first}-{last}"):
        pool(first, last)


def test_a_pair_rests_after_use() -> None:
    p = pool(20000, 20001)
    assert p.take(0) == 20000
    p.give_back(20000, 5 * SECOND)
    assert (p.free, p.quarantined, p.taken) == (0, 1, 0)
    assert p.take(35 * SECOND - 1) is None
    assert p.take(35 * SECOND) == 20000
    assert (p.free, p.quarantined, p.taken) == (0, 0, 1)


def test_a_named_port_is_given_only_when_free() -> None:
    p = pool()
    assert p.take(0, 20004) == 20004
    assert p.take(0, 20004) is None
    p.give_back(20004, 0)
    assert p.take(0, 20004) is None
    assert p.take(0, 20003) is None
    assert p.take(0, 30000) is None
    assert p.take(30 * SECOND, 20004) == 20004


def test_giving_back_what_is_not_taken_is_a_bug() -> None:
    p = pool()
    with pytest.raises(KeyError):
        p.give_back(20000, 0)
    p.take(0, 20000)
    p.give_back(20000, 0)
    with pytest.raises(KeyError):
        p.give_back(20000, 0)


def test_the_order_is_random() -> None:
    orders = set()
    for seed in range(8):
        p = pool(20000, 20199, seed=seed)
        orders.add(tuple(p.take(0) for _ in range(100)))
    assert len(orders) == 8
    assert tuple(range(20000, 20200, 2)) not in orders


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_every_pair_is_handed_out_once(a: int, b: int) -> None:
    first, last = min(a, b), min(max(a, b), min(a, b) + 50)
    expected = [port for port in range(first, last + 1) if port % 2 == 0 and port + 1 <= last]
    if expected:
        p = pool(first, last)
        assert sorted(p.take(0) or 0 for _ in expected) == expected
        assert p.take(0) is None


class Churn(RuleBasedStateMachine):
    """Against a plain model: a dict of port → when it is free again."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool(20000, 20015, rest_s=3)
        self.free_at = dict.fromkeys(range(20000, 20016, 2), 0)
        self.used: set[int] = set()
        self.now = 0

    @rule(port=st.sampled_from([0, *range(20000, 20016)]))
    def take(self, port: int) -> None:
        can = {p for p, at in self.free_at.items() if at <= self.now and p not in self.used}
        got = self.pool.take(self.now, port)
        if port:
            assert got == (port if port in can else None)
        else:
            assert (got in can) if can else got is None
        if got is not None:
            self.used.add(got)

    @rule(pick=st.randoms(use_true_random=False))
    def give_back(self, pick: random.Random) -> None:
        if self.used:
            port = pick.choice(sorted(self.used))
            self.pool.give_back(port, self.now)
            self.used.remove(port)
            self.free_at[port] = self.now + 3 * SECOND

    @rule(seconds=st.integers(0, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.pool.release(self.now)

    @invariant()
    def counts_add_up(self) -> None:
        assert self.pool.free + self.pool.quarantined + self.pool.taken == 8
        assert self.pool.taken == len(self.used)


TestChurn = Churn.TestCase
