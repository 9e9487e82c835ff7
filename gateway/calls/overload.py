"""When new calls are refused for the sake of the running ones: a rule over what the last seconds were like. Pure.

    calm ──beyond a limit for `after_s` seconds in a row──► overloaded
         ◄──well below all limits for `recover_s` seconds──

Between the two lie conditions that neither begin it nor end it, so that it does not flutter. Owns the rule; who
measures a second is `load.py`, what follows from it the controller's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.transports import Overload

#: Of a limit, what counts as well below it.
CALM_LATE: Final = 0.5
CALM_CPU: Final = 0.9


class Second(NamedTuple):
    """What one second was like. slots: of the media loop, late: those beyond the limit, missed: skipped altogether;
    cpu_percent: of all CPUs, None when it is not known."""

    slots: int
    late: int
    missed: int
    cpu_percent: float | None

    @property
    def late_percent(self) -> float:
        due = self.slots + self.missed
        return 100 * (self.late + self.missed) / due if due else 0.0


class Rule:
    """overloaded: what holds now; reason: why, in words."""

    def __init__(self, settings: Overload) -> None:
        self.settings = settings
        self.overloaded = False
        self.reason = ""
        self._bad = self._good = 0

    def observe(self, second: Second) -> bool:
        """A second has passed. Whether it changed what holds."""
        before = self.overloaded
        reason = self._beyond(second) if self.settings.enabled else ""
        self._bad = self._bad + 1 if reason else 0
        self._good = self._good + 1 if self._calm(second) else 0
        if not before and self._bad >= self.settings.after_s:
            self.overloaded, self.reason = True, reason
        elif before and (self._good >= self.settings.recover_s or not self.settings.enabled):
            self.overloaded, self.reason = False, ""
        return self.overloaded != before

    def _beyond(self, second: Second) -> str:
        if second.late_percent >= self.settings.late_percent:
            return f"{second.late_percent:.0f} % of the media loop's slots are later than {self.settings.late_ms} ms"
        if second.cpu_percent is not None and second.cpu_percent >= self.settings.cpu_percent:
            return f"the CPUs are busy for {second.cpu_percent:.0f} % of the time"
        return ""

    def _calm(self, second: Second) -> bool:
        late = second.late_percent < self.settings.late_percent * CALM_LATE
        cpu = second.cpu_percent is None or second.cpu_percent < self.settings.cpu_percent * CALM_CPU
        return late and cpu
