"""What the C library behind the stack leaves no other way to: its event descriptor, and its greeting.

Owns two tricks with file descriptors of this process. Refuses to know the stack.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def event_polls() -> set[int]:
    """Descriptors of this process that are epoll sets: pjsip's is not told by its API."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.add(int(name))
    return found


@contextmanager
def silence() -> Iterator[None]:
    """Standard output goes nowhere for a moment, the C library's included."""
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
