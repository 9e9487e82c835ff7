"""Strangers: who is slowed down, who is dropped, who is told of, and that the table stays small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.sources import Report, Sources, key_of
from gateway.trunks import Admission as Rules


def sources(**rules: float) -> Sources:
    return Sources(Rules.model_validate({"per_source_per_s": 2, "burst": 3, "strikes": 3, **rules}))


def test_a_budget_is_spent_and_refilled() -> None:
    some = sources()
    assert [some.spend("a", 1.0) for _ in range(4)] == [True, True, True, False]
    assert some.spend("b", 1.0)
    assert [some.spend("a", 2.0) for _ in range(3)] == [True, True, False]
    assert [some.spend("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_a_scanner_is_dropped_for_a_while() -> None:
    some = sources(drop_s=60)
    assert [some.strike("a", "digest_wrong", t) for t in (1.0, 2.0, 3.0)] == [False, False, True]
    assert not some.strike("a", "digest_wrong", 4.0)
    assert some.dropped("a", 5.0)
    assert not some.dropped("b", 5.0)
    assert not some.dropped("a", 63.1)


def test_strikes_far_apart_make_no_scanner() -> None:
    some = sources(strikes=2, strikes_window_s=10)
    assert [some.strike("a", "x", t) for t in (1.0, 20.0, 40.0, 41.0)] == [False, False, False, True]


def test_the_right_password_wipes_the_slate() -> None:
    some = sources()
    some.strike("a", "x", 1.0)
    some.strike("a", "x", 1.0)
    assert [some.spend("a", 1.0) for _ in range(4)][-1] is False
    some.welcome("a")
    assert some.spend("a", 1.0)
    assert [some.strike("a", "x", 2.0) for _ in range(3)] == [False, False, True]
    some.welcome("nobody")


def test_a_source_is_told_of_once_a_minute_and_summed_up() -> None:
    some = sources(strikes=100)
    for _ in range(5):
        some.strike("192.0.2.1", "not_allowed", 1.0)
    assert some.reports(1.0) == [Report("192.0.2.1", "not_allowed", 5, scanner=False)]
    some.strike("192.0.2.1", "digest_wrong", 2.0)
    assert some.reports(30.0) == []
    assert some.reports(61.0) == [Report("192.0.2.1", "digest_wrong", 1, scanner=False)]
    assert some.reports(999.0) == []


def test_that_a_source_became_a_scanner_is_told_at_once_and_while_it_goes_on() -> None:
    some = sources()
    some.strike("a", "not_allowed", 1.0)
    assert [report.scanner for report in some.reports(1.0)] == [False]
    some.strike("a", "not_allowed", 2.0)
    some.strike("a", "not_allowed", 2.0)
    assert some.reports(2.0) == [Report("a", "not_allowed", 2, scanner=True)]
    assert all(some.dropped("a", 3.0 + step / 500) for step in range(1000))
    assert some.reports(5.0) == []
    assert some.reports(62.0) == [Report("a", "not_allowed", 1000, scanner=True)]


def test_a_complaint_is_told_and_never_makes_a_scanner() -> None:
    some = sources(strikes=1)
    for _ in range(50):
        some.complain("10.0.0.1", "trunk_full", 1.0)
    assert not some.dropped("10.0.0.1", 1.0)
    assert some.reports(1.0) == [Report("10.0.0.1", "trunk_full", 50, scanner=False)]


def test_the_table_is_bounded() -> None:
    some = sources(max_sources=16)
    for number in range(40):
        some.strike(f"10.0.0.{number}", "x", 1.0)
    assert (len(some), some.forgotten) == (16, 24)
    assert len(some.reports(1.0)) == 16


def test_a_scanner_that_goes_on_is_not_forgotten_for_others() -> None:
    some = sources(max_sources=16, strikes=1)
    some.strike("a", "x", 1.0)
    for number in range(40):
        assert some.dropped("a", 1.0)
        some.spend(f"10.0.0.{number}", 1.0)
    assert some.dropped("a", 1.0)


def test_other_rules_leave_the_scanners_where_they_are() -> None:
    some = sources(strikes=1)
    some.strike("a", "x", 1.0)
    some.reconfigure(Rules(strikes=5))
    assert some.dropped("a", 2.0)
    assert [some.strike("b", "x", 2.0) for _ in range(5)][-1]


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_host_is_known_by_its_network(source: str, key: str) -> None:
    assert key_of(source) == key


def test_who_changes_his_ipv6_address_is_dropped_all_the_same() -> None:
    some = sources()
    for number in range(3):
        some.strike(f"2001:db8::{number}", "x", 1.0)
    assert some.dropped("2001:db8::ffff", 1.0)
    assert not some.dropped("2001:db8:0:1::1", 1.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=200))
def test_nobody_gets_more_than_the_budget(steps: list[tuple[str, float]]) -> None:
    some, now = sources(), 0.0
    admitted = {"a": 0, "b": 0, "c": 0}
    for source, later in steps:
        now += later
        admitted[source] += some.spend(source, now)
    assert all(count <= 3 + 2 * now + 1e-6 for count in admitted.values())
