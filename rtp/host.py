"""What the real-time loop asks of the host: a real-time scheduler, a CPU, memory that stays.

Each thing that the host does not permit comes back as a note for the operator, with what would permit it;
the loop runs all the same.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from typing import Final

from rtp.settings import Settings

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_PR_SET_TIMERSLACK: Final = 29


def prepare(settings: Settings) -> tuple[str, list[str]]:
    """Apply what `settings` asks for. Returns the scheduler in force (fifo, other) and the notes."""
    notes: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    if settings.cpu is not None:
        try:
            os.sched_setaffinity(0, {settings.cpu})
        except OSError as error:
            notes.append(f"media.realtime.cpu {settings.cpu} can not be had: {error.strerror}")
    scheduler = "other"
    if settings.scheduler != "other":
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(settings.priority))
            scheduler = "fifo"
        except OSError as error:
            notes.append(
                f"no real-time scheduling (SCHED_FIFO {settings.priority}): {error.strerror}; "
                "give the service LimitRTPRIO or CAP_SYS_NICE"
            )
    if scheduler == "other":
        # The default slack of 50 µs would be added to every wake-up.
        libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1000), 0, 0, 0)
    if settings.lock_memory:
        _lock_memory(libc, notes)
    # What lives now lives as long as the process; a collection in the middle of a slot would be late audio.
    gc.collect()
    gc.freeze()
    gc.disable()
    return scheduler, notes


def _lock_memory(libc: ctypes.CDLL, notes: list[str]) -> None:
    """mlockall of what is mapped now; the plane and the rings are touched as legs open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if libc.mlockall(_MCL_CURRENT) != 0:
        error = os.strerror(ctypes.get_errno())
        notes.append(f"memory is not locked: {error}; give the service LimitMEMLOCK=infinity")
