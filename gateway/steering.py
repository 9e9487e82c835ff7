"""What an operator does to the running daemon from the command line: reload it, drain it.

Both are signals to the supervisor, whose process id `/readyz` tells, and a look at what came of them. Owns the waiting
and the words; the caller brings the way to ask (`ask`), to speak (`say`) and the clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

#: As `gateway/supervisor.py` names itself.
PROCESS_NAME: Final = "glotgate"
RELOAD_S: Final = 10.0
LOOK_AGAIN_S: Final = 0.2
SPEAK_EVERY_S: Final = 5.0

Ask = Callable[[str], dict[str, Any]]
Say = Callable[[str], None]


class SteeringError(Exception):
    """It did not work; the message is for the operator."""


class Steering:
    """ask: a path of the admin address. clock, sleep: seconds."""

    def __init__(
        self,
        ask: Ask,
        say: Say,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        proc: Path = Path("/proc"),
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self._ask, self._say, self._clock, self._sleep = ask, say, clock, sleep
        self._proc, self._kill = proc, kill

    def reload(self) -> None:
        """Have the file read again and say what came of it. Raises SteeringError when it was not taken."""
        before = self._ask("/readyz")
        self._signal(_supervisor(before), signal.SIGHUP)
        deadline = self._clock() + RELOAD_S
        while (now := self._ask("/readyz")["configuration"])["reloads"] == before["configuration"]["reloads"]:
            if self._clock() > deadline:
                raise SteeringError("the gateway did not read its configuration again; its log may say why")
            self._sleep(LOOK_AGAIN_S)
        if now["problems"]:
            raise SteeringError("\n".join([*now["problems"], "nothing was changed"]))
        for key in now["changed"]:
            self._say(f"in force now: {key}")
        for key in now["needs_restart"]:
            self._say(f"needs a restart: {key}")
        if not now["changed"] and not now["needs_restart"]:
            self._say("nothing is different")

    def drain(self, at_once: bool, wait: bool) -> None:
        """Take no new calls, let those that run end, and the daemon with the last of them. at_once: end them now."""
        report = self._ask("/readyz")
        pid = _supervisor(report)
        self._signal(pid, signal.SIGTERM)
        if at_once:
            self._sleep(LOOK_AGAIN_S)  # two that come together are one
            self._signal(pid, signal.SIGTERM)
        self._say("draining: no new calls are taken")
        speak_at = self._clock() + SPEAK_EVERY_S
        while wait and self._runs(pid):
            if self._clock() >= speak_at:
                speak_at += SPEAK_EVERY_S
                self._say(self._left())
            self._sleep(LOOK_AGAIN_S)
        if wait:
            self._say("stopped")

    def _left(self) -> str:
        try:
            calls = len(self._ask("/calls")["calls"])
        except Exception:  # the admin address goes before the process does
            return "ending"
        return f"{calls} call{'' if calls == 1 else 's'} left"

    def _runs(self, pid: int) -> bool:
        try:
            return (self._proc / str(pid) / "comm").read_text().strip() == PROCESS_NAME
        except OSError:
            return False

    def _signal(self, pid: int, number: int) -> None:
        if not self._runs(pid):
            raise SteeringError(f"process {pid} is no gateway of this host: run this where the gateway runs")
        try:
            self._kill(pid, number)
        except PermissionError:
            raise SteeringError(f"process {pid} is somebody else's: run this as root or as its user") from None


def _supervisor(report: dict[str, Any]) -> int:
    return int(report["processes"]["supervisor"])
