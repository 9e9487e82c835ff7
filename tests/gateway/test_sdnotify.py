from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.sdnotify import Notifier


def _manager(address: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(10)
    return manager


@pytest.mark.parametrize("abstract", [False, True])
def test_each_message_is_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"glotgate-test-{os.getpid()}"
    manager = _manager("\0" + name if abstract else str(tmp_path / "n"))
    environ = {"NOTIFY_SOCKET": "@" + name if abstract else str(tmp_path / "n"), "HOME": "/"}
    notifier = Notifier(environ)
    assert environ == {"HOME": "/"}
    notifier.ready("all\nwell")
    notifier.status("5 calls")
    notifier.alive()
    notifier.extend(1.5)
    notifier.stopping("bye")
    assert [manager.recv(100).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=all well",
        "STATUS=5 calls",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1\nSTATUS=bye",
    ]
    manager.close()


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.watchdog_s == 0


@pytest.mark.parametrize(("pid", "expected"), [("", 10.0), (str(os.getpid()), 10.0), ("1", 0.0)])
def test_the_watchdog_is_for_the_process_it_names(tmp_path: Path, pid: str, expected: float) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": pid}
    assert Notifier(environ).watchdog_s == expected


def test_a_manager_that_has_gone_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready("x")
    notifier.alive()


def test_a_manager_that_does_not_read_does_not_block(tmp_path: Path) -> None:
    manager = _manager(str(tmp_path / "n"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
    for _ in range(2000):
        notifier.alive()
    manager.close()
