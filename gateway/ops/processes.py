"""CPU, memory and file descriptors of the daemon's processes, from /proc, into the metrics.

What can not be read is left out: a process that has just gone, or descriptors that the kernel hides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gateway.ops.labels import PROCESSES
from gateway.ops.metrics import Metrics

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class CpuTimes(NamedTuple):
    """Of all CPUs since the boot, in ticks. What runs at a lower priority than ours gives way, and is not counted."""

    busy: int
    total: int

    def busy_percent_since(self, before: CpuTimes) -> float:
        passed = self.total - before.total
        return 100 * (self.busy - before.busy) / passed if passed > 0 else 0.0


def cpu_times(proc: Path = Path("/proc")) -> CpuTimes | None:
    """From the first line of /proc/stat: user nice system idle iowait irq softirq steal …; None when it is hidden."""
    try:
        with (proc / "stat").open() as file:
            words = file.readline().split()
    except OSError:
        return None
    if words[:1] != ["cpu"] or len(words) < 9:
        return None
    user, _nice, system, idle, iowait, irq, softirq, steal = map(int, words[1:9])
    busy = user + system + irq + softirq + steal
    return CpuTimes(busy, busy + _nice + idle + iowait)


class Usage(NamedTuple):
    """cpu_s: user and system since its start; fds: -1 where they are hidden."""

    cpu_s: float
    rss_bytes: int
    fds: int


def usage(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Of one process; None when it is gone."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name stands in parentheses and may contain anything; fields count from behind it (proc(5): utime is 14).
    fields = text[text.rindex(")") + 2 :].split()
    try:
        fds = len(os.listdir(proc / str(pid) / "fd"))
    except OSError:
        fds = -1
    return Usage((int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[21]) * _PAGE, fds)


class ProcessFeed:
    """Puts the processes' usage into the metrics; counters survive the replacement of a process."""

    def __init__(self, metrics: Metrics, proc: Path = Path("/proc")) -> None:
        self._metrics, self._proc = metrics, proc
        self._last: dict[str, tuple[int, float]] = {}

    def observe(self, pids: Mapping[str, int]) -> None:
        """pids: of the processes that run now, by name."""
        m = self._metrics
        for name in PROCESSES:
            pid = pids.get(name)
            now = usage(pid, self._proc) if pid is not None else None
            m.process_up[name].set(now is not None)
            if pid is None or now is None:
                m.process_rss[name].set(0)
                m.process_fds[name].set(0)
                continue
            last_pid, last_cpu_s = self._last.get(name, (pid, 0.0))
            m.process_cpu[name].inc(max(0.0, now.cpu_s - last_cpu_s) if last_pid == pid else now.cpu_s)
            self._last[name] = (pid, now.cpu_s)
            m.process_rss[name].set(now.rss_bytes)
            m.process_fds[name].set(max(0, now.fds))
