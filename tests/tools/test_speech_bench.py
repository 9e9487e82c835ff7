"""The speech bench's judgement: word errors, limits, and what a missed one costs."""

from __future__ import annotations

from typing import Any

import pytest
from rig import demo, speech_bench


@pytest.mark.parametrize(
    ("wanted", "got", "count"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("a b c", "a x c", 1), ("a b c", "a b b c", 1), ("a b", "b a", 2)],
)
def test_words_that_are_wrong(wanted: str, got: str, count: int) -> None:
    assert speech_bench.edits(wanted.split(), got.split()) == count


def test_marks_and_capitals_are_no_words() -> None:
    assert speech_bench.words("It's six, isn't it?") == ["it's", "six", "isn't", "it"]


def test_there_are_enough_sentences_and_none_that_the_demo_says() -> None:
    assert len(set(speech_bench.SENTENCES)) >= 20
    assert set(speech_bench.CALLED) <= set(speech_bench.SENTENCES)
    assert not set(speech_bench.SENTENCES) & {text for text, _ in demo.SENTENCES}


def test_a_limit_is_judged_when_it_was_measured() -> None:
    assert speech_bench.judge({"words": {"wer": 0.30, "rtf": 0.4}}) == {
        "wer": {"limit": 0.35, "figure": 0.30, "passed": True},
        "rtf": {"limit": 0.3, "figure": 0.4, "passed": False},
    }


@pytest.mark.parametrize(("missing", "p95", "passed"), [([], 0.9, True), (["x"], 0.9, False), ([], None, False)])
def test_a_sentence_that_was_not_heard_fails_it(missing: list[str], p95: float | None, passed: bool) -> None:
    measured: dict[str, Any] = {"missing": missing, "heard_p50_s": 0.5, "heard_p95_s": p95}
    assert all(one["passed"] for one in speech_bench.judge({"latency": measured}).values()) is passed


def test_every_stalled_session_must_be_told_and_recover() -> None:
    stall = {"told": 20, "recovered": 19, "stall_healthy_p95_s": 0.6, "stall_loop_lag_max_ms": 7.0}
    judged = speech_bench.judge({"stall": stall})
    assert judged["stalled_told"]["passed"]
    assert not judged["stalled_recovered"]["passed"]
