"""The log level of all processes of the daemon as one octet of shared memory.

The supervisor writes it, every process reads it for each line: a change needs no message and is in force at once,
also in processes that hear from nobody. Owns the octet; what a line is, is `logs.py`'s.
"""

from __future__ import annotations

import logging
import mmap
import os
from typing import Any, Final

import structlog

NAMES: Final = ("debug", "info", "warning", "error")


class LogLevel:
    """A view on the octet behind a file descriptor, which may be closed afterwards."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, 1)

    def set(self, name: str) -> None:
        self._memory[0] = logging.getLevelNamesMapping()[name.upper()]

    def keep(self, _logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """A processor of structlog: lines below the level go no further."""
        if _SEVERITY[method] < self._memory[0]:
            raise structlog.DropEvent
        return event


_SEVERITY: Final = {
    **{name: logging.getLevelNamesMapping()[name.upper()] for name in NAMES},
    **{"warn": logging.WARNING, "exception": logging.ERROR, "critical": logging.CRITICAL, "fatal": logging.CRITICAL},
}


def create(name: str) -> int:
    """A descriptor of such an octet, with this level in it."""
    fd = os.memfd_create("glotgate-loglevel", os.MFD_CLOEXEC)
    os.ftruncate(fd, 1)
    LogLevel(fd).set(name)
    return fd
