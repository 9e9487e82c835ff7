"""What the metrics table is written with: a registry, and metrics whose label values are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from gateway.ops.absorbed import BoundedCounters, BucketedHistogram

_M = TypeVar("_M", bound=MetricWrapperBase)


class Labelled(Generic[_M]):
    """A metric with labels whose values are all known: `family["ok"].inc()`, `family["in", "rtp"].set(3)`."""

    def __init__(self, metric: _M, values: Sequence[Sequence[str]]) -> None:
        self._metric = metric
        self._values = [(*allowed, "other") for allowed in values]
        self._children = {key: metric.labels(*key) for key in product(*values)}
        self._rest: dict[tuple[str, ...], _M] = {}

    def __getitem__(self, key: str | tuple[str, ...]) -> _M:
        """The series of these label values, in the table's order; an unknown value becomes `other`."""
        wanted = (key,) if isinstance(key, str) else key
        child = self._children.get(wanted) or self._rest.get(wanted)
        if child is None:
            known = tuple(v if v in allowed else "other" for v, allowed in zip(wanted, self._values, strict=True))
            child = self._rest.setdefault(known, self._metric.labels(*known))
        return child

    def __contains__(self, key: str | tuple[str, ...]) -> bool:
        return ((key,) if isinstance(key, str) else key) in self._children


class Table:
    """Builds metrics into a registry of its own."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)

    def exposition(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"glotgate_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"glotgate_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"glotgate_{name}", text, buckets=buckets, registry=self.registry)

    def _histograms(
        self, name: str, text: str, buckets: Sequence[float], **labels: Sequence[str]
    ) -> Labelled[Histogram]:
        made = Histogram(f"glotgate_{name}", text, list(labels), buckets=buckets, registry=self.registry)
        return Labelled(made, list(labels.values()))

    def _counters(self, name: str, text: str, **labels: Sequence[str]) -> Labelled[Counter]:
        return Labelled(Counter(f"glotgate_{name}", text, list(labels), registry=self.registry), list(labels.values()))

    def _gauges(self, name: str, text: str, **labels: Sequence[str]) -> Labelled[Gauge]:
        return Labelled(Gauge(f"glotgate_{name}", text, list(labels), registry=self.registry), list(labels.values()))

    def _info(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge of 1 whose labels are the message; label it once."""
        return Gauge(f"glotgate_{name}", text, labels, registry=self.registry)

    def _bounded(self, name: str, text: str, label: str, bound: int) -> BoundedCounters:
        return BoundedCounters(Counter(f"glotgate_{name}", text, [label], registry=self.registry), bound)

    def _bucketed(self, name: str, text: str, bounds: Sequence[float]) -> BucketedHistogram:
        histogram = BucketedHistogram(f"glotgate_{name}", text, bounds)
        self.registry.register(histogram)
        return histogram
