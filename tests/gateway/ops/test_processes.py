from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.ops.metrics import Metrics
from gateway.ops.processes import CpuTimes, ProcessFeed, cpu_times, usage

TICK = os.sysconf("SC_CLK_TCK")


def test_cpu_times_leave_out_what_gives_way(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 1000 50 800 40 5 4 1 0 0\ncpu0 …\n")
    before = cpu_times(tmp_path)
    assert before == CpuTimes(160, 2000)
    (tmp_path / "stat").write_text("cpu  150 2000 75 825 40 5 4 1 0 0\n")
    after = cpu_times(tmp_path)
    assert after is not None
    assert after.busy_percent_since(before) == 100 * 75 / 1100
    assert after.busy_percent_since(after) == 0.0


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n"])
def test_without_cpu_times_there_are_none(tmp_path: Path, text: str) -> None:
    assert cpu_times(tmp_path) is None
    (tmp_path / "stat").write_text(text)
    assert cpu_times(tmp_path) is None


def _process(proc: Path, pid: int, ticks: int, pages: int = 10, fds: int = 3) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True, exist_ok=True)
    for fd in range(fds):
        (proc / str(pid) / "fd" / str(fd)).touch()
    fields = ["S", *["0"] * 10, str(ticks), "0", *["0"] * 8, str(pages), *["0"] * 20]
    (proc / str(pid) / "stat").write_text(f"{pid} (a ) name) {' '.join(fields)}\n")


def test_this_process_is_real() -> None:
    now = usage(os.getpid())
    assert now is not None
    assert now.cpu_s > 0
    assert now.rss_bytes > 1_000_000
    assert now.fds > 2


def test_a_process_that_is_gone_has_no_usage(tmp_path: Path) -> None:
    assert usage(1, tmp_path) is None


def test_counters_survive_the_replacement_of_a_process(tmp_path: Path) -> None:
    metrics = Metrics()
    feed = ProcessFeed(metrics, tmp_path)
    _process(tmp_path, 5, ticks=TICK)
    feed.observe({"sip": 5})
    _process(tmp_path, 5, ticks=3 * TICK)
    feed.observe({"sip": 5})
    feed.observe({})
    assert metrics.process_up["sip"]._value.get() == 0
    assert metrics.process_rss["sip"]._value.get() == 0
    _process(tmp_path, 6, ticks=2 * TICK)
    feed.observe({"sip": 6})
    assert metrics.process_cpu["sip"]._value.get() == pytest.approx(5)
    assert metrics.process_up["sip"]._value.get() == 1
    assert metrics.process_fds["sip"]._value.get() == 3
    assert metrics.process_rss["sip"]._value.get() == 10 * os.sysconf("SC_PAGE_SIZE")


def test_hidden_descriptors_are_left_out(tmp_path: Path) -> None:
    _process(tmp_path, 5, ticks=1, fds=0)
    (tmp_path / "5" / "fd").rmdir()
    now = usage(5, tmp_path)
    assert now is not None
    assert now.fds == -1
