"""Sources: who is let in, who is slowed down, who is dropped, and that the table stays small."""

import pytest

from gateway.sip.admission import Admission, Report, Rules, Ruling, parse_networks, within


def test_without_rules_everybody_is_let_in():
    admission = Admission(Rules())
    assert {admission.judge("10.0.0.1", float(t)) for t in range(1000)} == {Ruling.ADMIT}
    assert not admission.strike("10.0.0.1", 1.0)


@pytest.mark.parametrize(("unknown", "ruling"), [("reject", Ruling.FORBID), ("drop", Ruling.DROP)])
def test_the_allow_list(unknown, ruling):
    admission = Admission(Rules(networks=("10.0.0.0/8", "2001:db8::/32"), unknown=unknown))
    assert admission.judge("10.9.9.9", 1.0) is Ruling.ADMIT
    assert admission.judge("::ffff:10.9.9.9", 1.0) is Ruling.ADMIT
    assert admission.judge("2001:db8::7", 1.0) is Ruling.ADMIT
    assert admission.judge("192.0.2.1", 1.0) is ruling
    assert admission.judge("not an address", 1.0) is ruling


def test_a_budget_is_spent_and_refilled():
    admission = Admission(Rules(per_s=2.0, burst=3))
    assert [admission.judge("a", 1.0) for _ in range(4)] == [Ruling.ADMIT] * 3 + [Ruling.LIMIT]
    assert admission.judge("b", 1.0) is Ruling.ADMIT
    assert [admission.judge("a", 2.0) for _ in range(3)] == [Ruling.ADMIT] * 2 + [Ruling.LIMIT]
    assert [admission.judge("a", 100.0) for _ in range(4)] == [Ruling.ADMIT] * 3 + [Ruling.LIMIT]


def test_a_scanner_is_dropped_for_a_while():
    admission = Admission(Rules(strikes=3, window_s=10.0, banned_s=60.0))
    assert [admission.strike("a", t) for t in (1.0, 2.0, 3.0)] == [False, False, True]
    assert not admission.strike("a", 4.0)
    assert admission.judge("a", 5.0) is Ruling.DROP
    assert admission.judge("b", 5.0) is Ruling.ADMIT
    assert admission.judge("a", 63.1) is Ruling.ADMIT


def test_strikes_far_apart_make_no_scanner():
    admission = Admission(Rules(strikes=2, window_s=10.0))
    assert [admission.strike("a", t) for t in (1.0, 20.0, 40.0, 41.0)] == [False, False, False, True]


def test_a_trunk_is_never_a_scanner():
    admission = Admission(Rules(networks=("10.0.0.0/8",), strikes=1))
    assert not admission.strike("10.0.0.1", 1.0)
    assert admission.strike("192.0.2.1", 1.0)


def test_reports_come_once_a_minute_and_sum_up():
    admission = Admission(Rules(networks=("10.0.0.0/8",), unknown="drop"))
    for _ in range(5):
        admission.judge("192.0.2.1", 1.0)
    assert admission.reports(1.0) == [Report("192.0.2.1", 5)]
    admission.judge("192.0.2.1", 2.0)
    assert admission.reports(30.0) == []
    assert admission.reports(61.0) == [Report("192.0.2.1", 1)]
    assert admission.reports(999.0) == []


def test_the_table_is_bounded():
    admission = Admission(Rules(per_s=1.0, burst=1), max_sources=10)
    for number in range(25):
        assert admission.judge(f"10.0.0.{number}", 1.0) is Ruling.ADMIT
    assert admission.forgotten == 15
    assert admission.judge("10.0.0.24", 1.0) is Ruling.LIMIT
    assert admission.judge("10.0.0.0", 1.0) is Ruling.ADMIT


def test_networks():
    assert within(parse_networks(["192.0.2.7"]), "192.0.2.7")
    with pytest.raises(ValueError, match="192"):
        parse_networks(["192.0.2.7/8"])
