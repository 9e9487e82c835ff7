"""When a process that died is started again: at once after a good life, later and later when it can not live.

A process is healthy once it was heard of. Giving up ends the daemon, and with it running calls, so it is for
two cases only: the process never got healthy, several times in a row; or it dies all the time. Time is an argument.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: Waits before the second, third, … try of a process that did not get healthy.
BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Deaths in a minute that are too many even for one that gets healthy each time.
PER_MINUTE: Final = 30


class RestartPolicy:
    """Of one process."""

    def __init__(self) -> None:
        self._failures = 0
        self._deaths: deque[float] = deque(maxlen=PER_MINUTE)
        self._ever_healthy = False

    def healthy(self) -> None:
        """The process was heard of."""
        self._failures = 0
        self._ever_healthy = True

    def died(self, now_s: float, *, hopeless: bool = False) -> float | None:
        """Seconds to wait before the next start, or None to give up. hopeless: it said so by its status."""
        crowded = len(self._deaths) == PER_MINUTE and now_s - self._deaths[0] < 60
        self._deaths.append(now_s)
        self._failures += 1
        if crowded or self._failures > len(BACKOFF_S) or (hopeless and not self._ever_healthy):
            return None
        return 0.0 if self._failures == 1 and self._ever_healthy else BACKOFF_S[self._failures - 1]
