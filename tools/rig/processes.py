"""CPU time and memory of the daemon's processes, from /proc.

Owns reading and adding up. A process is known by its role: the word in its command line that the supervisor
put there, or `supervisor` for the one that was started.
"""

from __future__ import annotations

import os
from pathlib import Path

ROLES = ("supervisor", "sip", "controller", "rtp", "sessions")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, at any depth."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def role_of(command_line: list[str]) -> str | None:
    """The role that a command line names as one of its arguments."""
    return next((argument for argument in command_line if argument in ROLES[1:]), None)


def roles(supervisor: int) -> dict[str, int]:
    """Role → process id of a running daemon."""
    found = {"supervisor": supervisor}
    for pid in descendants(supervisor):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        role = role_of(line)
        if role is not None:
            found.setdefault(role, pid)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, those that have ended included. 0 once the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S  # utime, stime: fields 14 and 15 of proc(5)


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes). 0 once the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6
    except OSError:
        return 0.0


def sample(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds so far, by role."""
    return {role: cpu_seconds(pid) for role, pid in pids.items()}
