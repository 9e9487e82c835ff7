"""Reload and drain from the command line: the right signal to the right process, and what came of it in words."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.steering import Steering, SteeringError

PID = 4711


class Daemon:
    """A gateway that reads its file on SIGHUP and, when drained, is gone after its calls are."""

    def __init__(self, folder: Path, **outcome: list[str]) -> None:
        self.outcome = {"problems": [], "changed": [], "needs_restart": []} | outcome
        self.reloads = 3
        self.calls = 0
        self.deaf = False
        self.now = 0.0
        self.signals: list[int] = []
        self.said: list[str] = []
        self.comm = folder / str(PID) / "comm"
        self.comm.parent.mkdir()
        self.comm.write_text("glotgate\n")
        self.steering = Steering(self.ask, self.said.append, lambda: self.now, self.sleep, folder, self.kill)

    def ask(self, path: str) -> dict[str, Any]:
        if path == "/calls":
            return {"calls": [{}] * self.calls}
        return {"processes": {"supervisor": PID}, "configuration": {"reloads": self.reloads, **self.outcome}}

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if signal.SIGHUP in self.signals and not self.deaf:
            self.reloads = 4
        if self.signals.count(signal.SIGTERM) and self.now > 12:
            self.comm.unlink(missing_ok=True)

    def kill(self, pid: int, number: int) -> None:
        assert pid == PID
        self.signals.append(number)


def test_a_reload_says_what_is_in_force_and_what_waits(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, changed=["routes", "trunks"], needs_restart=["media.capacity"])
    daemon.steering.reload()
    assert daemon.signals == [signal.SIGHUP]
    assert daemon.said == ["in force now: routes", "in force now: trunks", "needs a restart: media.capacity"]


def test_a_reload_of_the_same_says_so(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.steering.reload()
    assert daemon.said == ["nothing is different"]


def test_a_file_that_is_not_taken_is_a_failure(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, problems=["f:2: sip.bind: is wrong"])
    with pytest.raises(SteeringError, match=r"f:2: sip\.bind: is wrong\nnothing was changed"):
        daemon.steering.reload()


def test_a_gateway_that_does_not_hear_is_a_failure(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.deaf = True
    with pytest.raises(SteeringError, match="did not read"):
        daemon.steering.reload()


def test_a_drain_waits_for_the_end_and_counts_the_calls(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.calls = 1
    daemon.steering.drain(at_once=False, wait=True)
    assert daemon.signals == [signal.SIGTERM]
    assert daemon.said == ["draining: no new calls are taken", "1 call left", "1 call left", "stopped"]


def test_at_once_is_a_second_signal_and_not_to_wait_is_possible(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.steering.drain(at_once=True, wait=False)
    assert daemon.signals == [signal.SIGTERM, signal.SIGTERM]
    assert daemon.said == ["draining: no new calls are taken"]


def test_nobody_else_is_signalled(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.comm.write_text("postgres\n")
    with pytest.raises(SteeringError, match="no gateway of this host"):
        daemon.steering.drain(at_once=False, wait=True)
    assert daemon.signals == []
