"""gateway/speech/turn.py"""

from __future__ import annotations

from gateway.speech.ledger import Clause
from gateway.speech.turn import CLAUSES, Turn


def turn() -> Turn:
    return Turn("seg_1", "customer", "en", 1000)


def clauses(one: Turn) -> list[str | None]:
    return [one.clauses.get_nowait() for _ in range(one.clauses.qsize())]


def test_what_will_not_change_becomes_clauses_once() -> None:
    one = turn()
    one.stabilize("Good morning how", 12)
    one.stabilize("Good morning how are", 12)
    one.stabilize("Good morning how are you today", 24)
    one.text = "Good morning how are you today"
    assert clauses(one) == ["Good morning", "how are you"]
    assert one.rest() == "today"


def test_clauses_are_bounded_and_the_rest_keeps_their_words() -> None:
    one = turn()
    text = "".join(f"w{n} " for n in range(CLAUSES + 10))
    ends = [at + 1 for at, letter in enumerate(text) if letter == " "]
    for end in ends:
        one.stabilize(text, end)
    one.text = text
    assert len(clauses(one)) == CLAUSES
    assert one.rest().split()[0] == f"w{CLAUSES}"


def test_moments_count_from_the_end_of_speech() -> None:
    one = turn()
    one.reach("translated", 9.9)
    assert one.timing() == {}
    one.ended_at = 10.0
    one.reach("final", 10.5)
    one.reach("final", 99.0)
    one.reach("heard", 10.75)
    assert one.metadata() == {"timing_ms": {"final": 500, "translated": -100, "heard": 750}}


def test_the_transcript_keeps_what_was_heard_of_an_interrupted_turn() -> None:
    one = turn()
    assert one.translation() is None
    one.translations = {"es": "uno dos tres cuatro"}
    whole, cut = Clause("uno dos", 800, 800, 0, True), Clause("tres cuatro", 800, 400, 400, True)
    one.spoken = [("agent", whole), ("agent", cut), ("guest", Clause("uno dos", 800, 800, 0, True))]
    assert one.translation(heard=True) == ("es", "uno dos tres cuatro")
    one.interrupted = True
    assert one.translation() == ("es", "uno dos tres cuatro")
    assert one.translation(heard=True) == ("es", "uno dos tres")
    assert one.metadata()["interrupted"] is True


def test_a_turn_is_over_when_its_fate_is_known() -> None:
    one = turn()
    clause = Clause("uno", 800, 0, 0, True)
    one.spoken = [("agent", clause)]
    one.told = one.voiced = True
    assert not one.is_over
    assert one.reaches("agent")
    assert not one.reaches("guest")
    clause.heard = 800
    assert one.is_over
    assert not one.reaches("agent")
