"""The whole daemon as it is started by an operator: real processes, real sockets, no call."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.app import STARTING_S, main, media_settings, status
from gateway.channel import PeerGone
from gateway.config import Config, Media
from gateway.host import HostRefuses
from gateway.lifeline import EXIT_HOPELESS
from tests.support.promql import dashboard_expressions, rule_expressions, unanswered
from tools.rig.daemon import Daemon

_EARLY, _LATE = STARTING_S / 2, STARTING_S * 2


@pytest.mark.parametrize(
    ("error", "after_s", "exit_status"),
    [
        (None, _LATE, 0),
        (PeerGone(), _LATE, 0),
        (HostRefuses("no room"), _LATE, EXIT_HOPELESS),
        (OSError("the address is taken"), _EARLY, EXIT_HOPELESS),
        (OSError("no route to host"), _LATE, 1),
        (ValueError("a bug"), _EARLY, 1),
    ],
)
def test_the_exit_status_says_whether_another_process_would_do_better(
    error: Exception | None, after_s: float, exit_status: int
) -> None:
    times = iter((100.0, 100.0 + after_s))

    def work() -> None:
        if error is not None:
            raise error

    assert status(work, structlog.get_logger(), lambda: next(times)) == exit_status


ROLES = ("sip", "rtp", "controller", "sessions")
PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon(capacity=8, changes={"sessions": {"webhooks": {"secret": "whsec_hush_hush"}}}) as running:
        yield running


def _get(daemon: Daemon, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(daemon.admin_url + path, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    except OSError:
        found = {"ready": False, "processes": {}}  # the controller is being replaced
    return found


def _until(what: Callable[[], Any], daemon: Daemon) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, daemon.log_end()
        time.sleep(0.05)
    return found


def _pids(daemon: Daemon) -> dict[str, int]:
    pids: dict[str, int] = _get(daemon, "/readyz")["processes"]
    return pids


def _replaced(daemon: Daemon, role: str, number: int) -> None:
    """End a process with this signal and wait until calls are taken again by another one."""
    before = _pids(daemon)
    os.kill(before[role], number)

    def back() -> bool:
        report = _get(daemon, "/readyz")
        return bool(report["ready"]) and report["processes"].get(role) not in (None, before[role])

    _until(back, daemon)
    assert not Path(f"/proc/{before[role]}").exists()


def test_it_is_ready_with_five_processes(daemon: Daemon) -> None:
    report = _get(daemon, "/readyz")
    assert report["ready"]
    assert set(report["processes"]) == {"supervisor", *ROLES}
    assert report["processes"]["supervisor"] == daemon.pid
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in report["processes"].values()}
    assert names == {"glotgate", "glot-sip", "glot-rtp", "glot-controller", "glot-sessions"}


def test_no_secret_stands_where_others_can_read_it(daemon: Daemon) -> None:
    for pid in _pids(daemon).values():
        for file in ("cmdline", "environ"):
            assert b"hush" not in Path(f"/proc/{pid}/{file}").read_bytes()
    assert "hush" not in daemon.log.read_text()


def test_each_process_has_its_own_part_of_the_code_only(daemon: Daemon) -> None:
    maps = {role: Path(f"/proc/{pid}/maps").read_text() for role, pid in _pids(daemon).items()}
    with_pjsua = {role for role, text in maps.items() if "pjsua2" in text}
    with_numpy = {role for role, text in maps.items() if "numpy" in text}
    assert with_pjsua == {"sip"}
    assert {"rtp", "controller"} <= with_numpy
    assert not {"sip", "supervisor"} & with_numpy


def test_a_running_daemon_answers_the_dashboard_and_the_alerts(daemon: Daemon) -> None:
    # A label that another process names (a reason, an event) is there once it was told.
    _until(lambda: _get(daemon, "/readyz")["ready"] and "glotgate_rtp_slots_total" in daemon.metrics(), daemon)
    with urllib.request.urlopen(daemon.admin_url + "/metrics", timeout=10) as answer:
        exposition = answer.read().decode()
    # None of its trunks registers anywhere, and its interpreter has no engines.
    idle = ["trunk_registered", "speech_engine_requests_total", "speech_engine_resting"]
    asked = dashboard_expressions() + rule_expressions()
    assert unanswered(asked, exposition, sometimes=[f"glotgate_{name}" for name in idle]) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_process_that_is_killed_is_replaced(daemon: Daemon, role: str) -> None:
    controller = _pids(daemon)["controller"]
    _replaced(daemon, role, signal.SIGKILL)
    assert (_pids(daemon)["controller"] == controller) == (role != "controller")


def test_a_media_loop_that_is_stopped_is_replaced(daemon: Daemon) -> None:
    _replaced(daemon, "rtp", signal.SIGSTOP)


def test_the_end_leaves_nothing_behind() -> None:
    daemon = Daemon(capacity=4)
    with daemon:
        pids = _pids(daemon)
        assert daemon.stop() == 0
    for pid in pids.values():
        assert not Path(f"/proc/{pid}").exists()


def test_an_address_that_is_taken_ends_it_with_the_reason(daemon: Daemon) -> None:
    taken = {"sip": {"bind": daemon.config["sip"]["bind"]}}
    with pytest.raises(SystemExit) as ended, Daemon(capacity=4, changes=taken):
        pass
    assert "the daemon ended at start" in str(ended.value)
    assert "in use" in str(ended.value).lower()
    assert "sip does not stay up: exit status 78" in str(ended.value)


def test_settings_of_the_loop_are_those_of_the_file() -> None:
    media = Media.model_validate(
        {
            "bind": "127.0.0.1",
            "ports": {"first": 20000, "last": 20099, "quarantine_s": 5},
            "capacity": 9,
            "jitter": {"min_ms": 30, "start_ms": 50, "max_ms": 90},
            "playout": {"lead_ms": 70},
            "dtx": True,
            "vad_events": True,
            "realtime": {"scheduler": "other", "priority": 3, "cpu": 1, "lock_memory": False},
        }
    )
    settings = media_settings(media)
    assert (settings.ports_first, settings.ports_last, settings.quarantine_s) == (20000, 20099, 5)
    assert (settings.jitter_min_ms, settings.jitter_start_ms, settings.jitter_max_ms) == (30, 50, 90)
    assert (settings.bind, settings.capacity, settings.lead_ms) == ("127.0.0.1", 9, 70)
    assert (settings.dtx, settings.vad_events) == (True, True)
    assert (settings.scheduler, settings.priority, settings.cpu, settings.lock_memory) == ("other", 3, 1, False)
    assert media_settings(Config().media).capacity == Config().media.capacity


def test_a_process_is_not_for_people_to_start() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nobody"])
    assert ended.value.code == 2
