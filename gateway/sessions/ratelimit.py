"""Requests per minute and organization: a fixed window each. Owns the counting; time is an argument."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

WINDOW_S: Final = 60


class Allowance(NamedTuple):
    """What the headers say. reset: Unix seconds at which the window ends."""

    limit: int
    remaining: int
    reset: int
    refused: bool
    retry_after_s: int


class RateLimiter:
    """Counts of the present window, which all organizations share; so nothing is kept of former ones."""

    def __init__(self) -> None:
        self._window = -1
        self._counts: dict[str, int] = {}

    def take(self, organization_id: str, limit: int, now: float) -> Allowance:
        """Count one request."""
        window = int(now // WINDOW_S)
        if window != self._window:
            self._window = window
            self._counts.clear()
        count = self._counts.get(organization_id, 0) + 1
        self._counts[organization_id] = min(count, limit + 1)
        reset = (window + 1) * WINDOW_S
        return Allowance(limit, max(0, limit - count), reset, count > limit, max(1, math.ceil(reset - now)))
