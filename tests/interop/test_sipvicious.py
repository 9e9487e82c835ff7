"""What the scanner that everybody is scanned with learns of the real daemon: sipvicious, from an address of no trunk.

It finds hosts (svmap), numbers (svwar) and passwords (svcrack). It reports each as a row of a table.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rig.daemon import Daemon

#: Ends it where it would wait for answers that never come; by then it has sent all it wants to.
PATIENCE_S = 10
NUMBERS = "1000-1004"
ROUTES = [{"name": "number", "user": "100[0-4]|pbx", "mode": "bidirectional_translation"}]
PBX = {"name": "pbx", "allow": ["127.0.0.77"]}


@contextmanager
def daemon(trunks: list[dict[str, Any]], **sip: Any) -> Iterator[Daemon]:
    with Daemon(capacity=8, changes={"trunks": trunks, "routes": ROUTES, "sip": sip}) as running:
        yield running


def learned(running: Daemon, tool: str, *arguments: str) -> list[str]:
    """The rows of what it found, without the table's head. It calls from 127.0.0.1."""
    host, _, port = running.sip_address.rpartition(":")
    with subprocess.Popen(
        [tool, "-p", port, *arguments, host], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # as at a terminal: it still tells what it has found
            said, _ = process.communicate(timeout=PATIENCE_S)
    rows = [line.strip("| \n") for line in said.splitlines() if line.startswith("|")]
    return rows[1:]


def counted(running: Daemon, event: str) -> float:
    return running.metrics()[f'glotgate_sip_agent_events_total{{event="{event}"}}']


def until(condition: Callable[[], bool]) -> None:
    """What a process counts is told once a second."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def guess(running: Daemon, passwords: str) -> list[str]:
    return learned(running, "svcrack", "-u", "pbx", "-r", passwords, "-m", "INVITE", "--maximumtime", "5")


def numbers(running: Daemon, method: str) -> list[str]:
    return learned(running, "svwar", "-e", NUMBERS, "-m", method, "--force", "--maximumtime", "3")


def roaming(password: str) -> dict[str, Any]:
    """A trunk for whoever has the password, by the one algorithm that svcrack knows."""
    return {"name": "roaming", "credentials": [{"username": "pbx", "password": password}], "digest": ["MD5"]}


def test_a_daemon_that_drops_strangers_is_not_there() -> None:
    with daemon([PBX], unknown_source="drop") as running:
        assert learned(running, "svmap") == []
        assert numbers(running, "INVITE") == []


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS"])
def test_a_stranger_learns_no_number(method: str) -> None:
    with daemon([PBX]) as running:
        assert numbers(running, method) == []
        found = learned(running, "svmap")  # that it speaks SIP, and not what it is
        assert [row.split("|")[1].strip() for row in found] == ["unknown"]


def test_who_lacks_the_password_learns_no_number_and_does_not_guess_it() -> None:
    with daemon([PBX, roaming("1099")]) as running:
        assert numbers(running, "INVITE") == []
    with daemon([PBX, roaming("1099")]) as running:  # which has not yet found out that it is a scanner
        assert guess(running, "1000-1100") == []
        until(lambda: counted(running, "digest_wrong") > 0)
        assert counted(running, "digest_accepted") == 0


def test_what_can_be_found_is_found() -> None:
    """The same scans where there is no door, and with the password that is guessed first."""
    with daemon([]) as running:
        assert numbers(running, "INVITE")
    with daemon([PBX, roaming("1000")]) as running:
        guess(running, "1000-1001")
        until(lambda: counted(running, "digest_accepted") > 0)
