"""What a second was like, from the loop's counters and /proc/stat, and that a change is said once."""

from __future__ import annotations

import io
import json
from pathlib import Path

from gateway.calls.load import Load
from gateway.config import Logging
from gateway.ops.logs import make_logger
from gateway.ops.metrics import Metrics
from gateway.transports import Overload
from rtp.control import LATENESS_BOUNDS_US, LoopCounters

SETTINGS = Overload(late_ms=12, late_percent=10, cpu_percent=90, after_s=2, recover_s=2)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.proc = folder
        self.busy = self.total = 1000
        self.out = io.StringIO()
        self.metrics = Metrics()
        self.write()
        self.load = Load(SETTINGS, self.metrics, make_logger(Logging(format="json"), "controller", self.out), folder)
        self.slots = self.late = 0

    def write(self) -> None:
        idle = self.total - self.busy
        (self.proc / "stat").write_text(f"cpu  {self.busy} 77 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n")

    def second(self, late: int = 0, cpu: int = 0, slots: int = 250) -> bool:
        self.slots, self.late = self.slots + slots, self.late + late
        lateness = [0] * (len(LATENESS_BOUNDS_US) + 1)
        lateness[0], lateness[LATENESS_BOUNDS_US.index(12_000)] = self.slots - self.late, 5
        lateness[-1] = self.late
        self.load.heard(LoopCounters(1, self.slots, 0, {}, lateness, 0.0, [], 0.0, 0, 0))
        self.busy, self.total = self.busy + cpu, self.total + 100
        self.write()
        return self.load.each_second()

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.out.getvalue().splitlines()]

    def gauge(self) -> float | None:
        return self.metrics.registry.get_sample_value("glotgate_overloaded")


def test_late_slots_begin_it_and_calm_ends_it_each_said_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.gauge() == 0
    assert [rig.second(late=50) for _ in range(4)] == [False, True, False, False]
    assert (rig.load.overloaded, rig.gauge()) == (True, 1)
    assert "20 % of the media loop's slots" in rig.load.reason
    assert [rig.second() for _ in range(4)] == [False, True, False, False]
    assert (rig.load.overloaded, rig.gauge()) == (False, 0)
    assert rig.events() == ["overloaded", "no_longer_overloaded"]


def test_busy_cpus_begin_it_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert [rig.second(cpu=95) for _ in range(2)] == [False, True]
    assert "CPUs are busy for 95 %" in rig.load.reason


def test_a_loop_that_begins_again_and_one_that_reports_twice_count_right(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.second(late=50)
    rig.slots = rig.late = 0
    assert not rig.second()  # 250 slots, none late, though less than before
    rig.load.heard(LoopCounters(1, 500, 0, {}, [500] + [0] * len(LATENESS_BOUNDS_US), 0.0, [], 0.0, 0, 0))
    rig.slots = 500
    assert not rig.second(late=40)  # 40 of 500
    assert not rig.load.overloaded


def test_without_proc_stat_lateness_alone_decides(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (tmp_path / "stat").unlink()
    assert not rig.load.each_second()
    rig.write = lambda: None  # type: ignore[method-assign]
    assert [rig.second(late=50) for _ in range(2)] == [False, True]


def test_other_limits_hold_from_the_next_second(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.load.reconfigure(SETTINGS.model_copy(update={"late_percent": 50.0}))
    assert not any(rig.second(late=50) for _ in range(4))
