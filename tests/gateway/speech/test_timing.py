"""gateway/speech/timing.py"""

from __future__ import annotations

from gateway.speech.timing import Timekeeper
from gateway.speech.turn import Turn
from tests.support.sinks import Measured, NotingSink


def test_a_turn_is_told_once_to_metrics_and_streams() -> None:
    sink, measured = NotingSink(), Measured()
    keeper = Timekeeper(sink, measured, "answer")
    turn = Turn("seg_1", "customer", "en", 0)
    keeper.tell(turn)
    assert sink.timings == []  # its speech has not ended: there is nothing to count from
    turn.ended_at = 10.0
    turn.reach("first_audio", 9.5)
    turn.reach("final", 10.25)
    keeper.tell(turn)
    turn.reach("heard", 11.0)
    keeper.tell(turn)
    assert sink.timings == [("seg_1", {"final": 250, "first_audio": -500})]
    assert measured.times == [("final", 0.25, "answer"), ("first_audio", 0.0, "answer")]
