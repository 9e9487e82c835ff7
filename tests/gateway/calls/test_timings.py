"""gateway/calls/timings.py"""

from __future__ import annotations

from gateway.calls.timings import LATEST, MOMENTS, Timings


def test_each_moment_has_its_count_median_and_worst() -> None:
    timings = Timings()
    assert timings.summary() is None
    for ms in (300, 100, 200):
        timings.add({"final": ms, "heard": 2 * ms})
    timings.add({"final": -400})
    assert timings.summary() == {
        "turns": 4,
        "timing_ms": {
            "final": {"count": 4, "p50": 150, "max": 300},
            "heard": {"count": 3, "p50": 400, "max": 600},
        },
    }


def test_a_worst_may_be_negative() -> None:
    timings = Timings()
    timings.add({"heard": -50})
    assert timings.summary() == {"turns": 1, "timing_ms": {"heard": {"count": 1, "p50": -50, "max": -50}}}


def test_it_is_bounded_whatever_comes() -> None:
    timings = Timings()
    for number in range(3 * LATEST):
        timings.add({"final": number, f"made_up_{number}": 1})
    summary = timings.summary()
    assert summary is not None
    assert len(summary["timing_ms"]) == MOMENTS
    assert summary["timing_ms"]["final"] == {"count": 3 * LATEST, "p50": round(2.5 * LATEST), "max": 3 * LATEST - 1}
