"""What the scanner that everybody is scanned with learns of the real daemon: sipvicious, from an address of no trunk.

It finds hosts (svmap), numbers (svwar) and passwords (svcrack). It reports each as a row of a table.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rig.daemon import Daemon

#: Ends it where it would wait for answers that never come; by then it has sent all it wants to.
PATIENCE_S = 6
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
            process.kill()
            said, _ = process.communicate()
    rows = [line.strip("| \n") for line in said.splitlines() if line.startswith("|")]
    return rows[1:]


def guess(running: Daemon, passwords: str, method: str) -> list[str]:
    return learned(running, "svcrack", "-u", "pbx", "-r", passwords, "-m", method, "--maximumtime", "5")


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


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_who_lacks_the_password_learns_no_number_and_does_not_guess_it(method: str) -> None:
    with daemon([PBX, roaming("1099")]) as running:
        assert numbers(running, method) == []
    with daemon([PBX, roaming("1099")]) as running:
        assert guess(running, "1000-1100", method) == []
        assert running.metrics()['glotgate_sip_agent_events_total{event="digest_accepted"}'] == 0


def test_what_can_be_found_is_found() -> None:
    """The same scans where there is no door: what is looked for in the table would be seen in it."""
    with daemon([]) as running:
        assert numbers(running, "INVITE")
    with daemon([PBX, roaming("1000")]) as running:
        assert guess(running, "1000-1001", "INVITE")
