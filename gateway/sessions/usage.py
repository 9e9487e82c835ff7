"""Usage clocks: how long something has run, in pieces. Owns the adding up; time is an argument."""

from __future__ import annotations

from typing import Final

#: Modes in which translation runs whenever somebody is there to hear it.
TRANSLATING: Final = frozenset({"bidirectional_translation", "assistive_translation"})


class UsageClock:
    """A stop watch. It never runs backwards, and starting or stopping it twice changes nothing."""

    __slots__ = ("_since", "_total")

    def __init__(self, total: float = 0.0) -> None:
        self._total = total
        self._since: float | None = None

    @property
    def running(self) -> bool:
        return self._since is not None

    def run(self, running: bool, now: float) -> None:
        """Start or stop."""
        if running and self._since is None:
            self._since = now
        elif not running and self._since is not None:
            self._total += max(0.0, now - self._since)
            self._since = None

    def total(self, now: float) -> float:
        """Seconds so far."""
        return self._total if self._since is None else self._total + max(0.0, now - self._since)
