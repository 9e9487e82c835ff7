from __future__ import annotations

import subprocess
import sys

#: In a process of its own, for what is asked of the host stays.
SCRIPT = """
import errno, gc, os, resource, sys
from rtp import host
from rtp.settings import Settings

def refuse(*_):
    raise PermissionError(errno.EPERM, "Operation not permitted")

{changes}
scheduler, notes = host.prepare(Settings({settings}))
print(scheduler, gc.isenabled(), sep="|")
print(*notes, sep="\\n")
"""


def _prepare(settings: str, changes: str = "") -> tuple[str, list[str]]:
    code = SCRIPT.format(settings=settings, changes=changes)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *notes = done.stdout.splitlines()
    return first, [note for note in notes if note]


def test_what_is_not_asked_for_is_not_noted() -> None:
    assert _prepare("scheduler='other', lock_memory=False") == ("other|False", [])


def test_a_host_that_refuses_is_noted_with_what_would_help() -> None:
    first, notes = _prepare(
        "scheduler='fifo', priority=7, cpu=0, lock_memory=False",
        "os.sched_setscheduler = os.sched_setaffinity = refuse",
    )
    assert first == "other|False"
    assert notes[0].startswith("media.realtime.cpu 0 can not be had")
    assert "SCHED_FIFO 7" in notes[1]
    assert "LimitRTPRIO" in notes[1]


def test_memory_that_can_not_be_locked_is_noted() -> None:
    changes = "host.ctypes.CDLL = lambda *a, **k: type('L', (), {'mlockall': lambda *_: -1, 'prctl': lambda *_: 0})()"
    _, notes = _prepare("scheduler='other'", changes)
    assert len(notes) == 1
    assert "LimitMEMLOCK" in notes[0]


def test_a_host_that_permits_it_gives_the_scheduler() -> None:
    first, notes = _prepare(
        "scheduler='auto', lock_memory=False", "os.sched_setscheduler = lambda *given: print(*given, file=sys.stderr)"
    )
    assert (first, notes) == ("fifo|False", [])
