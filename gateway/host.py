"""What the daemon asks of the host before it starts, and what every one of its processes asks at its start.

Each function does one thing and says in words for the operator what it could not get.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Final

from gateway.config import Config

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15

#: RTP, RTCP and one to spare for a leg; and what a process has open besides.
FDS_PER_LEG: Final = 3
FDS_BESIDES: Final = 256


class HostRefuses(Exception):
    """The host does not permit what the configuration asks for; the message says what would help."""


def raise_file_limit(config: Config) -> int:
    """Raise the limit of open files as far as allowed. Raises HostRefuses when `media.capacity` does not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = files_needed(config)
    if hard < needed:
        raise HostRefuses(
            f"media.capacity {config.media.capacity} needs {needed} open files and the limit is {hard}: "
            f"raise it (ulimit -Hn {needed}, or LimitNOFILE={needed} in the unit) or lower media.capacity"
        )
    return hard


def files_needed(config: Config) -> int:
    """Of the process that needs most: rtp holds three a leg; sip two for pjmedia's idle sockets and one for TCP."""
    return FDS_PER_LEG * config.media.capacity + FDS_BESIDES


def port_notes(config: Config, proc: Path = Path("/proc/sys/net/ipv4")) -> list[str]:
    """Whether the kernel may hand RTP ports to others: it loses calls now and then, and nobody knows why."""
    ports = config.media.ports
    try:
        low, high = (int(word) for word in (proc / "ip_local_port_range").read_text().split())
        reserved = _ranges((proc / "ip_local_reserved_ports").read_text())
    except (OSError, ValueError):
        return []  # no such kernel interface: nothing that could be said
    if ports.last < low or ports.first > high:
        return []
    first, last = max(ports.first, low), min(ports.last, high)
    if any(a <= first and last <= b for a, b in reserved):
        return []
    return [
        f"media.ports {ports.first}–{ports.last} overlap the kernel's own range {low}–{high}: other programs may "
        f"take them; sysctl net.ipv4.ip_local_reserved_ports={ports.first}-{ports.last} keeps them free"
    ]


def _ranges(text: str) -> list[tuple[int, int]]:
    ranges = []
    for part in text.replace("\n", "").split(","):
        if part:
            first, _, last = part.partition("-")
            ranges.append((int(first), int(last or first)))
    return ranges


def name_process(name: str) -> None:
    """What `top` and `ps` show; at most 15 characters."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exit at once if it is dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def give_back_memory() -> None:
    """Hand what the C library keeps for later back to the kernel: a flood's memory would else stay taken for good."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)
