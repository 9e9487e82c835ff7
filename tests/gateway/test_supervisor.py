from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.supervisor import app_command, main

#: Long enough for a busy machine; nothing here is a measurement.
PATIENCE_S = 30.0


class Daemon:
    """The supervisor over fake processes, and what they wrote."""

    def __init__(self, folder: Path, fail: str = "-:0") -> None:
        self._journal = folder / "journal"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.settimeout(PATIENCE_S)
        self.log_file = (folder / "log").open("w+b")
        environ = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "600000"}
        words = [sys.executable, "-m", "tests.support.fake_daemon", str(self._journal), fail]
        self.process = subprocess.Popen(words, env=environ, stderr=self.log_file, process_group=0)

    def events(self, name: str = "", **fields: Any) -> list[dict[str, Any]]:
        text = self._journal.read_text() if self._journal.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        wanted = {"event": name, **fields} if name else fields
        return [line for line in lines if wanted.items() <= line.items()]

    def wait(self, what: Callable[[], Any], describe: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.02)
        raise AssertionError(f"{describe} did not happen; log:\n{self.log()}\njournal:\n{self.events()}")

    def wait_for(self, count: int, name: str, **fields: Any) -> list[dict[str, Any]]:
        found = self.wait(
            lambda: len(self.events(name, **fields)) >= count and self.events(name, **fields),
            f"{count} {name} {fields}",
        )
        return list(found)

    def notified(self, field: str) -> str:
        """The next notification that says this."""
        while True:
            text = self._notify.recv(4096).decode()
            if field in text:
                return text

    def start_of(self, role: str, number: int = 0) -> dict[str, Any]:
        return self.wait_for(number + 1, "start", role=role)[number]

    def touch(self, suffix: str) -> None:
        Path(f"{self._journal}{suffix}").touch()

    def end(self) -> int:
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        self.log_file.seek(0)
        return self.log_file.read().decode()

    def close(self) -> None:
        pids = [event["pid"] for event in self.events("start")]
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()
        self._notify.close()
        for pid in pids:
            _wait_gone(pid)


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, f"process {pid} outlived its supervisor"
        time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.close()


def test_starts_four_and_hands_each_what_it_needs(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    fds = {role: daemon.start_of(role)["fds"] for role in ("controller", "sip", "rtp", "sessions")}
    assert fds == {
        "controller": ["level", "lifeline", "plane", "wakeup"],
        "sip": ["channel", "level"],
        "rtp": ["channel", "level", "plane", "wakeup"],
        "sessions": ["level"],
    }
    attached = {event["process"]: event["fd"] for event in daemon.wait_for(4, "Attach")}
    assert attached == {"controller": False, "sip": True, "rtp": True, "sessions": False}
    daemon.notified("WATCHDOG=1")


def test_secrets_reach_whom_they_concern_and_no_command_line(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    starts = {role: daemon.start_of(role) for role in ("controller", "sip", "rtp", "sessions")}
    assert {role: start["key"] for role, start in starts.items()} == {
        "controller": True,
        "sessions": True,
        "sip": False,
        "rtp": False,
    }
    environ = Path(f"/proc/{starts['sip']['pid']}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in environ
    assert b"WATCHDOG" not in environ


@pytest.mark.parametrize("role", ["sip", "rtp"])
def test_a_process_that_died_is_replaced_under_the_same_controller(daemon: Daemon, role: str) -> None:
    daemon.notified("READY=1")
    controller = daemon.start_of("controller")["pid"]
    for life in range(3):
        daemon.wait_for(life + 1, "Attach", process=role, fd=True)
        os.kill(daemon.start_of(role, life)["pid"], signal.SIGKILL)
        daemon.wait_for(life + 1, "Exited", process=role, reason="killed by SIGKILL")
    daemon.wait_for(1, "Attach", process=role, fd=True, life=4)
    assert [event["pid"] for event in daemon.events("start", role="controller")] == [controller]


def test_a_process_that_is_stopped_is_found_silent_and_replaced(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    first = daemon.start_of("rtp")["pid"]
    os.kill(first, signal.SIGSTOP)
    assert daemon.start_of("rtp", 1)["pid"] != first
    _wait_gone(first)
    assert len(daemon.events("start", role="sip")) == 1


def test_a_controller_that_is_stopped_takes_sip_and_rtp_with_it(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    os.kill(daemon.start_of("controller")["pid"], signal.SIGSTOP)
    daemon.start_of("controller", 1)
    for role in ("sip", "rtp"):
        daemon.start_of(role, 1)
        daemon.wait_for(1, "alone", role=role)  # each saw that its peer had gone, and had time to end
        daemon.wait_for(1, "Attach", process=role, pid=daemon.start_of(role, 1)["pid"], fd=True)
    daemon.wait_for(2, "Attach", process="sessions")
    assert len(daemon.events("start", role="sessions")) == 1


def test_a_machine_that_stood_still_costs_no_process(daemon: Daemon) -> None:
    """All are stopped for longer than silence is suffered, and go on."""
    daemon.notified("READY=1")
    daemon.wait_for(4, "start")
    pids = [daemon.process.pid, *(daemon.start_of(role)["pid"] for role in ("controller", "sip", "rtp", "sessions"))]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, number)
        time.sleep(2.5)
    daemon.wait(lambda: "the supervisor stood still" in daemon.log(), "a note of the pause")
    assert len(daemon.events("start")) == 4


def test_sigterm_drains_and_ends_in_order(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    daemon.process.terminate()
    assert "STATUS=stopping: SIGTERM received" in daemon.notified("STOPPING=1")
    daemon.wait_for(1, "Drain", timeout_s=60.0)
    daemon.process.send_signal(signal.SIGINT)
    daemon.wait_for(1, "Drain", timeout_s=0.0)
    assert daemon.end() == 0
    assert {event["role"] for event in daemon.events("alone")} == {"sip", "rtp"}
    for start in daemon.events("start"):
        _wait_gone(start["pid"])


def test_a_drain_that_hangs_is_cut_by_the_third_signal(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    os.kill(daemon.start_of("controller")["pid"], signal.SIGSTOP)
    for _ in range(3):
        daemon.process.terminate()
        time.sleep(0.1)
    assert daemon.end() == 0


def test_children_die_with_their_supervisor(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    pids = [daemon.start_of(role)["pid"] for role in ("controller", "sip", "rtp", "sessions")]
    daemon.process.kill()
    for pid in pids:
        _wait_gone(pid)


@pytest.mark.parametrize(("fail", "starts"), [("sip:78", 1), ("sessions:3", 6)])
def test_gives_up_on_what_can_not_start(tmp_path: Path, fail: str, starts: int) -> None:
    daemon = Daemon(tmp_path, fail)
    try:
        role, status = fail.split(":")
        assert daemon.end() == 1
        assert f"{role} does not stay up: exit status {status}" in daemon.log()
        assert len(daemon.events("start", role=role)) == starts
    finally:
        daemon.close()


def test_sighup_tells_what_is_wrong_and_changes_nothing(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    daemon.wait_for(4, "start")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(1, "Reloaded", problems=["f:1: bad"], needs_restart=[], changed=[], fd=False)
    assert "configuration not taken" in daemon.log()
    assert len(daemon.events("start")) == 4


def test_the_command_line_of_a_process_names_no_secret_and_no_working_directory() -> None:
    words = app_command("rtp", {"channel": 5})
    assert words[1:] == ["-P", "-m", "gateway.app", "rtp", "--parent", str(os.getpid()), "--fd=channel=5"]


def test_sighup_hands_on_what_can_change_and_names_what_can_not(daemon: Daemon) -> None:
    daemon.notified("READY=1")
    daemon.wait_for(4, "start")
    daemon.touch(".good")
    daemon.process.send_signal(signal.SIGHUP)
    told = {"problems": [], "needs_restart": ["media.capacity"], "changed": ["drain.timeout_s"], "fd": True}
    daemon.wait_for(1, "Reloaded", **told)
    assert len(daemon.events("start")) == 4
    # A process that is replaced is given what is in force, and the drain is as long as it says now.
    os.kill(daemon.start_of("sip")["pid"], signal.SIGKILL)
    assert daemon.start_of("sip", 1)["capacity"] == 2
    daemon.process.send_signal(signal.SIGTERM)
    daemon.wait_for(1, "Drain", timeout_s=7.0)


def test_a_bad_file_is_told_and_nothing_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("media: {capacity: 0}")
    assert main(path) == 2
    assert capsys.readouterr().err == f"{path}:1: media.capacity: must be at least 1 (it is '0')\n"
