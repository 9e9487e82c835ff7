"""A hundred thousand spoilt SIP messages and as many spoilt descriptions to the real daemon, beside 20 running calls.

`tools/fuzz` sends a million, with any seed. Nothing may end a process, keep memory, or cost a call a frame. Takes three
and a half minutes, one of them at rest: what is still held then is held for good.
"""

from __future__ import annotations

from rig import fuzz

PLAN = fuzz.Plan(datagrams=100_000, offers=100_000, seed=4475, rate=1600.0)


def test_nothing_that_is_sent_hurts_the_daemon_or_a_call() -> None:
    result = fuzz.run(PLAN)
    assert not result["faults"], result
    answers = result["answers"]
    # It was not refused at one door: every way to answer has been taken
    assert {200, 400, 404, 405, 415, 481, 488} <= set(answers), answers
