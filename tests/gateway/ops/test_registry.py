from __future__ import annotations

import pytest
from prometheus_client import Gauge

from gateway.ops.registry import Labelled, Table


class _Sample(Table):
    def __init__(self) -> None:
        super().__init__()
        self.one = self._counter("one", "One.")
        self.pairs = self._counters("pairs", "Two labels.", a=("x", "y"), b=("1", "2"))
        self.level = self._gauges("level", "One label.", a=("x",))
        self.info = self._info("info", "Labels are the message.", "version")
        self.time = self._histogram("time_seconds", "Time.", (0.1, 1.0))


def test_every_combination_stands_at_zero_from_the_start() -> None:
    table = _Sample()
    text = table.exposition().decode()
    for a in "xy":
        for b in "12":
            assert f'glotgate_pairs_total{{a="{a}",b="{b}"}} 0.0' in text
    assert "glotgate_one_total 0.0" in text
    assert 'glotgate_level{a="x"} 0.0' in text
    assert "glotgate_time_seconds_count 0.0" in text
    assert "_created" not in text


def test_unknown_values_become_other_one_label_at_a_time() -> None:
    table = _Sample()
    table.pairs["x", "who"].inc()
    table.pairs["what", "who"].inc(2)
    table.pairs["else", "who"].inc(2)
    get = table.registry.get_sample_value
    assert get("glotgate_pairs_total", {"a": "x", "b": "other"}) == 1
    assert get("glotgate_pairs_total", {"a": "other", "b": "other"}) == 4
    assert ("x", "1") in table.pairs
    assert ("x", "who") not in table.pairs


def test_a_wrong_number_of_labels_is_a_defect() -> None:
    with pytest.raises(ValueError, match="zip"):
        _Sample().pairs["x"].inc()


def test_a_labelled_metric_returns_one_object_per_series() -> None:
    gauge = Labelled(Gauge("g", "g", ["a"], registry=None), [("x",)])
    assert gauge["x"] is gauge["x"]
    assert gauge["nobody"] is gauge["nowhere"]
