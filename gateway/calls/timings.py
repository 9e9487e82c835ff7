"""Where the time of a call's turns went, added up for its record: how many, their median and their worst.

Owns the sums, by moment. The moments are the session service's to name. Bounded: a median is of the latest turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

#: Turns that a median is of, and moments that are known: names come from the stream.
LATEST: Final = 1000
MOMENTS: Final = 16


class _Moment:
    def __init__(self) -> None:
        self.count = 0
        self.worst = 0
        self.latest: deque[int] = deque(maxlen=LATEST)

    def add(self, ms: int) -> None:
        self.worst = max(self.worst, ms) if self.count else ms
        self.count += 1
        self.latest.append(ms)


class Timings:
    """One call's: of what was said by it."""

    def __init__(self) -> None:
        self._turns = 0
        self._moments: dict[str, _Moment] = {}

    def add(self, timing_ms: Mapping[str, int]) -> None:
        """One more turn: milliseconds from the end of speech, by moment."""
        self._turns += 1
        for name, ms in timing_ms.items():
            if name in self._moments or len(self._moments) < MOMENTS:
                self._moments.setdefault(name, _Moment()).add(ms)

    def summary(self) -> dict[str, Any] | None:
        """For the record; None: nothing was told."""
        if not self._turns:
            return None
        timing = {
            name: {"count": one.count, "p50": round(median(one.latest)), "max": one.worst}
            for name, one in self._moments.items()
        }
        return {"turns": self._turns, "timing_ms": timing}
