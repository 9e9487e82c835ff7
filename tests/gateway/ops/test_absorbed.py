from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest

from gateway.ops.absorbed import BoundedCounters, BucketedHistogram, advance


def _counters(bound: int) -> tuple[CollectorRegistry, BoundedCounters]:
    registry = CollectorRegistry()
    return registry, BoundedCounters(Counter("glotgate_x", "x", ["event"], registry=registry), bound)


def _value(registry: CollectorRegistry, event: str) -> float | None:
    return registry.get_sample_value("glotgate_x_total", {"event": event})


def test_a_smaller_total_is_a_new_count() -> None:
    assert advance(10, 12) == 2
    assert advance(10, 3) == 3


@given(st.lists(st.integers(0, 1000), min_size=1), st.lists(st.integers(0, 1000), min_size=1))
def test_totals_of_two_lives_add_up(first: list[int], second: list[int]) -> None:
    registry, counters = _counters(8)
    for life in (sorted(first), sorted(second)):
        for total in life:
            counters.absorb({"a": total})
        counters.restarted()
    assert _value(registry, "a") == max(first) + max(second)


def test_labels_beyond_the_bound_are_added_up_as_other() -> None:
    registry, counters = _counters(3)
    counters.absorb({f"e{i}": 2 for i in range(10)})
    counters.absorb({f"e{i}": 3 for i in range(10)})
    assert _value(registry, "e0") == 3
    assert _value(registry, "e9") is None
    assert _value(registry, "other") == 8 * 3


def test_other_stands_at_zero_from_the_start() -> None:
    registry, _ = _counters(3)
    assert _value(registry, "other") == 0


def test_a_histogram_is_cumulative_and_survives_a_restart_of_its_source() -> None:
    registry = CollectorRegistry()
    histogram = BucketedHistogram("glotgate_h_seconds", "h", [0.001, 0.01])
    registry.register(histogram)
    histogram.absorb([5, 2, 1], 0.5)
    histogram.absorb([6, 2, 1], 0.6)
    histogram.absorb([1, 0, 0], 0.1)  # a new process
    get = registry.get_sample_value
    assert get("glotgate_h_seconds_bucket", {"le": "0.001"}) == 7
    assert get("glotgate_h_seconds_bucket", {"le": "0.01"}) == 9
    assert get("glotgate_h_seconds_bucket", {"le": "+Inf"}) == 10
    assert get("glotgate_h_seconds_count") == 10
    assert get("glotgate_h_seconds_sum") == pytest.approx(0.7)
    assert b"# TYPE glotgate_h_seconds histogram" in generate_latest(registry)


def test_a_histogram_of_another_shape_is_a_defect() -> None:
    with pytest.raises(ValueError, match="3 buckets where 2"):
        BucketedHistogram("glotgate_h", "h", [0.001]).absorb([1, 2, 3], 0)
