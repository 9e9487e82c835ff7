"""Metrics whose truth is kept in another process as ever-growing totals, absorbed here by difference.

A process that was started anew counts from zero; the series here must not go backwards for that. So a total
below the last one seen is the whole of what the new process counted. Owns that rule and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Counter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


def advance(last: float, total: float) -> float:
    """What a total has grown by since `last`."""
    return total - last if total >= last else total


class BoundedCounters:
    """Counters of one label whose values another process names: at most `bound`, the rest are `other`."""

    def __init__(self, counter: Counter, bound: int) -> None:
        self._counter = counter
        self._bound = bound
        self._last: dict[str, int] = {"other": 0}
        counter.labels("other")

    def absorb(self, totals: Mapping[str, int]) -> None:
        """Take the totals of a process, by label value."""
        beyond = 0
        for name, total in totals.items():
            if name in self._last or len(self._last) < self._bound:
                self._take(name, total)
            else:
                beyond += total
        if beyond:
            self._take("other", beyond)

    def restarted(self) -> None:
        """The process that counts was started anew."""
        self._last = dict.fromkeys(self._last, 0)

    def _take(self, name: str, total: int) -> None:
        self._counter.labels(name).inc(advance(self._last.get(name, 0), total))
        self._last[name] = total


class BucketedHistogram(Collector):
    """A histogram that another process has already counted into buckets.

    bounds: upper bounds in seconds, ascending; the last bucket, beyond them all, is not among them.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text = name, text
        self._bounds = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._counts = [0.0] * len(self._bounds)
        self._sum = 0.0
        self._last_counts = [0] * len(self._bounds)
        self._last_sum = 0.0

    def absorb(self, counts: Sequence[int], total_s: float) -> None:
        """Take the process's totals: one count per bound and one beyond them, and the sum of all values.

        Raises ValueError for another number of buckets: the two processes would not be of one release.
        """
        if len(counts) != len(self._counts):
            raise ValueError(f"{self._name}: {len(counts)} buckets where {len(self._counts)} are known")
        if any(count < last for count, last in zip(counts, self._last_counts, strict=True)):
            self.restarted()
        for i, count in enumerate(counts):
            self._counts[i] += count - self._last_counts[i]
        self._sum += total_s - self._last_sum
        self._last_counts, self._last_sum = list(counts), total_s

    def restarted(self) -> None:
        """The process that counts was started anew."""
        self._last_counts, self._last_sum = [0] * len(self._counts), 0.0

    def collect(self) -> Iterator[Metric]:
        cumulative, buckets = 0.0, []
        for bound, count in zip(self._bounds, self._counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)
