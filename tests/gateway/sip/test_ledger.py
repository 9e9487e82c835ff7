"""What the sip process counts, and the bound on what it says."""

import pytest

from gateway.sip.headers import Defect
from gateway.sip.ledger import COUNTERS, LOG_LINES_PER_S, Ledger


class Rig:
    def __init__(self):
        self.now = 10.0
        self.lines = []
        self.ledger = Ledger(self.lines.append, lambda: self.now)


def test_every_counter_stands_at_zero():
    assert Rig().ledger.counters == dict.fromkeys(COUNTERS, 0)


def test_a_counter_that_is_not_listed_is_a_defect():
    with pytest.raises(KeyError):
        Rig().ledger.count("nothing")


def test_a_refusal_counts_twice():
    rig = Rig()
    rig.ledger.refuse(Defect.BAD_SDP)
    assert {name for name, n in rig.ledger.counters.items() if n} == {"refused", f"refused_{Defect.BAD_SDP.label}"}


def test_lines_of_one_kind_are_bounded_each_second():
    rig = Rig()
    for _ in range(LOG_LINES_PER_S + 3):
        rig.ledger.say("info", "flood", source="x")
    rig.ledger.say("info", "other")
    assert len(rig.lines) == LOG_LINES_PER_S + 1
    assert rig.lines[-1] == {"level": "info", "event": "other"}
    assert rig.ledger.counters["log_dropped"] == 3
    rig.now += 1
    rig.ledger.say("info", "flood")
    assert len(rig.lines) == LOG_LINES_PER_S + 2
