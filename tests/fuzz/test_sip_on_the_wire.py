"""Twenty thousand spoilt SIP messages and as many spoilt descriptions to the real daemon, beside 20 running calls.

`tools/fuzz` sends a million, with any seed. With a hundred thousand of each and this seed no process ends and no memory
is kept, but one of the 20 calls loses its audio, which is not explained yet: so that is no test of every change. Here
nothing may end a process, keep memory, or cost a call a frame.
"""

from __future__ import annotations

from rig import fuzz

PLAN = fuzz.Plan(datagrams=20_000, offers=20_000, seed=4475, rate=1600.0)


def test_nothing_that_is_sent_hurts_the_daemon_or_a_call() -> None:
    result = fuzz.run(PLAN)
    assert not result["faults"], result
    answers = result["answers"]
    # It was not refused at one door: every way to answer has been taken
    assert {200, 400, 404, 405, 415, 481, 488} <= set(answers), answers
