"""What is said of a leg's sound after the call, and while it runs: by the engine's own figures (E-model, delay)."""

import pytest

from rtp import control
from rtp.engine import Leg
from tests.support.stepped import Peer, Stepped, speech

INTERVAL = 250  # frames


def talk(loop: Stepped, leg: Leg, caller: Peer, frames: int, lose: int = 0) -> None:
    """lose: every how manieth packet does not come."""
    for n in range(frames):
        if lose and n % lose == 0:
            caller.sequence += 1
            caller.timestamp += 160
        else:
            caller.say(leg, speech(n))
        loop.frames()


def figure(loop: Stepped, leg: Leg, name: str) -> float:
    return float(loop.plane.stats[name][leg.row])


def test_the_call_is_rated_as_a_whole_and_its_last_seconds_as_such(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    talk(loop, leg, caller, INTERVAL, lose=10)
    talk(loop, leg, caller, 3 * INTERVAL + 5)
    assert figure(loop, leg, "mos") == pytest.approx(4.41, abs=0.01)
    bad = 93.2 - 95 * 10 / (10 + 25.1)
    assert figure(loop, leg, "r_mean") == pytest.approx((bad + 3 * 93.2) / 4, abs=1.0)
    assert 4.0 < figure(loop, leg, "mos_mean") < 4.35


def test_a_leg_on_hold_is_not_rated(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    talk(loop, leg, caller, INTERVAL + 60)
    loop.configure(leg, caller, receive=False)
    loop.frames(2 * INTERVAL)
    assert figure(loop, leg, "mos") == 0
    loop.configure(leg, caller, receive=True)
    caller.timestamp += 2 * INTERVAL * 160
    talk(loop, leg, caller, 2 * INTERVAL)
    assert figure(loop, leg, "mos") == pytest.approx(4.41, abs=0.03)
    assert figure(loop, leg, "mos_mean") == pytest.approx(4.41, abs=0.03)


def test_a_call_of_two_seconds_is_rated_at_its_end(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    talk(loop, leg, caller, 100)
    loop.command(control.CloseLeg(leg.row, leg.generation))
    closed = loop.of(control.LegClosed)[0]
    assert closed.statistics["mos_mean"] == pytest.approx(4.41, abs=0.03)


def test_the_delay_is_that_of_the_time_in_which_packets_came(loop: Stepped) -> None:
    leg, caller = loop.open(), loop.peer()
    loop.configure(leg, caller)
    talk(loop, leg, caller, 200)
    before = figure(loop, leg, "delay_mean_ms")
    assert before == pytest.approx(figure(loop, leg, "delay_ms"), abs=1)
    loop.frames(500)  # he has gone, and nobody has said so
    assert figure(loop, leg, "delay_mean_ms") == pytest.approx(before, abs=1)
