"""Metrics of this process that are kept elsewhere, as totals or as what is true now, and read when they are asked for.

Owns the way from a mapping by label values to the exposition. Who keeps the mapping bounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Read = Callable[[], Mapping[tuple[str, ...], float]]


class Totals(Collector):
    """Counters. read: ever-growing totals by label values, in the order of the labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], read: Read) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, total in self._read().items():
            family.add_metric(values, total)
        yield family


class Levels(Totals):
    """Gauges. read: what is true now."""

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, level in self._read().items():
            family.add_metric(values, level)
        yield family
