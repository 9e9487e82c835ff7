"""When an engine that fails is left alone, and how long a request waits before it is made again.

Owns the circuit breaker, as a table, and the back-off. Sans-IO: time and chance are arguments. Knows no engine.

Theory: a closed breaker lets everything through. So many failures in a row open it: nothing passes while the engine
rests. After the rest one request may pass as a probe (half open); its success closes the breaker, its failure opens it
again for twice the rest, up to a bound. A probe that is never answered for is forgotten after another rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What happens to a breaker. RESTED: its rest is over. TRIPPED: one failure too many."""

    SUCCEEDED = "succeeded"
    TRIPPED = "tripped"
    RESTED = "rested"


#: What is not here changes nothing: the late answer of a request from before the breaker opened, for one.
_TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.RESTED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.TRIPPED): State.OPEN,
}


@dataclass(frozen=True)
class Limits:
    """failures: in a row, to open. rest_s: the first rest; doubles up to longest_rest_s."""

    failures: int = 3
    rest_s: float = 5.0
    longest_rest_s: float = 60.0


class Breaker:
    """One engine's breaker for one stage. changed: told of (before, after), once each change. Times in seconds."""

    def __init__(
        self, limits: Limits = Limits(), changed: Callable[[State, State], None] = lambda before, after: None
    ) -> None:
        self.state = State.CLOSED
        self._limits = limits
        self._changed = changed
        self._failures = 0
        self._rest_s = limits.rest_s
        self._until = 0.0  # open: when the rest is over; half open: when a probe without an answer is forgotten
        self._probing = False

    def rests(self, now: float) -> bool:
        """Whether a request would be refused now. Asking takes no probe."""
        if self.state is State.CLOSED:
            return False
        return now < self._until and (self.state is State.OPEN or self._probing)

    def admit(self, now: float) -> bool:
        """Whether a request may go now. One that may must be answered for: `succeeded`, `failed` or `gave_up`."""
        if self.rests(now):
            return False
        if self.state is State.OPEN:
            self._handle(Event.RESTED)
        if self.state is State.HALF_OPEN:
            self._probing = True
            self._until = now + self._rest_s
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._handle(Event.SUCCEEDED)
        if self.state is State.CLOSED:
            self._probing = False
            self._rest_s = self._limits.rest_s

    def failed(self, now: float) -> None:
        self._failures += 1
        if self.state is State.HALF_OPEN:
            self._rest_s = min(self._rest_s * 2, self._limits.longest_rest_s)
        elif self.state is State.OPEN or self._failures < self._limits.failures:
            return
        self._probing = False
        self._until = now + self._rest_s
        self._handle(Event.TRIPPED)

    def gave_up(self) -> None:
        """Nobody waits for the answer any more: it says nothing of the engine."""
        self._probing = False

    def _handle(self, event: Event) -> None:
        before = self.state
        self.state = _TABLE.get((before, event), before)
        if self.state is not before:
            self._changed(before, self.state)


def backoff_s(attempt: int, chance: float, first_s: float = 0.1, longest_s: float = 2.0) -> float:
    """How long to wait before the attempt after `attempt` (from 0). chance: 0 … 1; spreads half of the wait."""
    whole: float = min(first_s * 2**attempt, longest_s)
    return whole * (0.5 + 0.5 * chance)
