"""Even/odd port pairs for RTP and RTCP: which are free, taken, or in quarantine after use.

A pair that was just freed rests: the old peer may still be sending to it, and its audio must not reach the
next call. The order is random, so that a stranger can not foresee the next port. Owns the numbers;
refuses to touch a socket. A pair that cannot be bound is given back and so rests as well.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable


class PortPool:
    """Even RTP ports of first…last whose odd neighbour is in the range too.

    quarantine_ns: how long a pair rests after `give_back`. below: `below(n)` draws from 0…n−1.
    """

    def __init__(
        self, first: int, last: int, quarantine_ns: int, below: Callable[[int], int] = secrets.randbelow
    ) -> None:
        if not 0 < first <= last <= 65535:
            raise ValueError(f"not a port range: {first}-{last}")
        self._quarantine_ns = quarantine_ns
        self._below = below
        self._free = list(range(first + first % 2, last, 2))
        self._place = {port: at for at, port in enumerate(self._free)}  # where in _free each free port stands
        self._resting: deque[tuple[int, int]] = deque()  # (free again at ns, port), by time
        self._taken: set[int] = set()
        if not self._free:
            raise ValueError(f"no even-odd pair in {first}-{last}")

    def take(self, now_ns: int, port: int = 0) -> int | None:
        """An even port, the caller's until `give_back`; or None. port: this one or none."""
        self.release(now_ns)
        if port == 0:
            if not self._free:
                return None
            port = self._free[self._below(len(self._free))]
        at = self._place.pop(port, None)
        if at is None:
            return None
        moved = self._free.pop()
        if moved != port:
            self._free[at] = moved
            self._place[moved] = at
        self._taken.add(port)
        return port

    def give_back(self, port: int, now_ns: int) -> None:
        """End the use of a port. Raises KeyError when it is not taken: that is a bug of the caller."""
        self._taken.remove(port)
        self._resting.append((now_ns + self._quarantine_ns, port))

    def release(self, now_ns: int) -> None:
        """Free the pairs that have rested long enough; `take` does it by itself."""
        while self._resting and self._resting[0][0] <= now_ns:
            port = self._resting.popleft()[1]
            self._place[port] = len(self._free)
            self._free.append(port)

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def quarantined(self) -> int:
        return len(self._resting)

    @property
    def taken(self) -> int:
        return len(self._taken)
