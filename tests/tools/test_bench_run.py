"""A whole run of the bench, and of the daemon's handling, against a stand-in for the daemon."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig import bench, bench_cli, limits, processes
from rig.daemon import Daemon

PRETEND = Path(__file__).parents[1] / "support" / "pretend_daemon.py"


@pytest.fixture(autouse=True)
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "glotgate"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PRETEND}" "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("GLOTGATE", str(command))


def test_a_run_measures_everything_that_is_judged() -> None:
    run = bench.run(bench.Plan(4, 1.0, 50, settle=0.5))
    assert [fault for fault in run["faults"] if "generator_late" not in fault] == []
    assert run["frames"]["sent"] == run["frames"]["reached"] == run["frames"]["returned"] == 200
    assert run["frames"]["lost"] == run["frames"]["altered_up"] == run["frames"]["altered_back"] == 0
    cpu = run["cpu_us_per_call_second"]
    assert set(cpu) == {"total", *processes.ROLES}
    assert cpu["total"] == pytest.approx(cpu["sip"] + cpu["controller"] + cpu["rtp"], abs=0.2)
    assert set(run["rss_mb"]) >= {"sip", "controller", "rtp"}
    assert run["setup"]["failed"] == run["setup"]["retransmissions"] == 0
    assert run["latency_ms"]["round_trip"]["p50"] > 0
    assert run["tx_interval_error_ms"]["p99"] > 0
    kept = {row["name"]: row["kept"] for row in limits.judge(run)[0]}
    assert kept["frames lost inside the gateway"] is True
    assert kept["transmit interval error, p99"] is not None


def test_the_command_prints_one_json_object_and_exits_by_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    status = bench_cli.main(["--calls", "2", "--seconds", "0.5", "--settle", "0.2", "--json"])
    printed = json.loads(capsys.readouterr().out)
    wanted = "calls frames cpu_us_per_call_second rss_mb latency_ms tx_interval_error_ms slot_lateness_ms setup"
    assert set(printed) >= {*wanted.split(), "limits", "passed"}
    assert status == (0 if printed["passed"] else 1)


def test_held_calls_measure_set_up_alone() -> None:
    run = bench.run(bench.Plan(6, 0, 30, hold=0.3))
    assert run["setup"]["failed"] == 0
    assert run["setup"]["p50_ms"] > 0
    assert "frames" not in run


def test_the_idle_daemon_is_all_of_its_processes() -> None:
    run = bench.idle(0.5, settle=0.1)
    assert set(run["idle_cpu_percent_by_process"]) == set(processes.ROLES)
    assert run["idle_cpu_percent"] == pytest.approx(sum(run["idle_cpu_percent_by_process"].values()), abs=0.02)
    assert run["faults"] == []


def test_a_daemon_that_does_not_start_is_told_with_its_last_words() -> None:
    with pytest.raises(SystemExit, match="this is what is wrong"), Daemon(capacity=2, changes={"pretend": "no start"}):
        pass


def test_nothing_is_left_of_a_daemon() -> None:
    with Daemon(capacity=2, changes={"sessions": {"url": "http://127.0.0.1:1"}}) as daemon:
        pids, folder = list(processes.roles(daemon.pid).values()), daemon.folder
        assert len(pids) == len(processes.ROLES)
    assert not folder.exists()
    until = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
        os.sched_yield()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_bench_that_is_told_to_end_takes_its_daemon_with_it() -> None:
    command = [sys.executable, "-m", "rig.bench_cli", "--calls", "2", "--seconds", "30"]
    folder = str(Path(bench.__file__).parents[1])
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": folder}, stdout=-1, stderr=-1)
    until = time.monotonic() + 20
    while len(processes.descendants(running.pid)) < 7 and time.monotonic() < until:
        time.sleep(0.05)
    below = processes.descendants(running.pid)
    assert len(below) >= 7, "echo, generator, daemon and its processes"
    running.terminate()
    assert running.wait(20) == 128 + 15
    assert not any(Path(f"/proc/{pid}").exists() for pid in below)
