"""How hard the host works, second by second, and what follows by the rule of `overload.py`.

Owns the measurement: the media loop's own counters, and the CPUs' from /proc/stat. Says a change once.
"""

from __future__ import annotations

from pathlib import Path

from gateway.calls.overload import Rule, Second
from gateway.ops.logs import Log
from gateway.ops.metrics import Metrics
from gateway.ops.processes import CpuTimes, cpu_times
from gateway.transports import Overload
from rtp.control import LATENESS_BOUNDS_US, LoopCounters


class Load:
    """`heard` each report of the media loop, `each_second` once a second."""

    def __init__(self, settings: Overload, metrics: Metrics, log: Log, proc: Path = Path("/proc")) -> None:
        self._rule = Rule(settings)
        self._metrics = metrics
        self._log = log
        self._proc = proc
        self._cpu: CpuTimes | None = cpu_times(proc)
        self._loop = (0, 0, 0)  # slots, late, missed, as last reported
        self._second = (0, 0, 0)

    @property
    def overloaded(self) -> bool:
        return self._rule.overloaded

    @property
    def reason(self) -> str:
        return self._rule.reason

    def reconfigure(self, settings: Overload) -> None:
        self._rule.settings = settings

    def heard(self, counters: LoopCounters) -> None:
        """A report of the loop, once a second while it serves legs; its counters begin again with its process."""
        late_from = LATENESS_BOUNDS_US.index(self._rule.settings.late_ms * 1000) + 1
        now = counters.slots, sum(counters.lateness[late_from:]), counters.slots_missed
        grown = tuple(value - before for value, before in zip(now, self._loop, strict=True))
        self._loop = now
        slots, late, missed = grown if min(grown) >= 0 else now
        self._second = self._second[0] + slots, self._second[1] + late, self._second[2] + missed

    def each_second(self) -> bool:
        """Whether new calls are refused now that were not before, or the other way round."""
        second, self._second = self._second, (0, 0, 0)
        before, self._cpu = self._cpu, cpu_times(self._proc)
        cpu = None if before is None or self._cpu is None else self._cpu.busy_percent_since(before)
        changed = self._rule.observe(Second(*second, cpu))
        if changed:
            self._metrics.overloaded.set(self.overloaded)
            if self.overloaded:
                self._log.warning("overloaded", reason=self.reason)
            else:
                self._log.info("no_longer_overloaded")
        return changed
