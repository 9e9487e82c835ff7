"""Whether calls can be taken, and every reason why not, in words for the one who is woken at night.

Two answers for two questions: *alive* (`/livez`) is whether the controller turns its loop, and is answered by
being answered; *ready* (`/readyz`) is whether a new call would work. A note is what an operator should know
though calls work. Joins what the controller says with what the supervisor says of the processes; asks nobody.
"""

from __future__ import annotations

from typing import Any

from gateway.ops.labels import PROCESSES


class Health:
    """What the supervisor told of the processes, and how it all reads."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}  #: of the processes that run
        self._gone: dict[str, str] = {}
        self._reloads = 0
        self._problems: list[str] = []
        self._changed: list[str] = []
        self._needs_restart: list[str] = []

    def started(self, process: str, pid: int) -> None:
        self.pids[process] = pid
        self._gone.pop(process, None)

    def ended(self, process: str, reason: str) -> None:
        self.pids.pop(process, None)
        self._gone[process] = f"the {process} process ended ({reason}) and is being replaced"

    def reloaded(self, problems: list[str], changed: list[str], needs_restart: list[str]) -> None:
        """The configuration file was read again. With problems the one before stays in force."""
        self._reloads += 1
        self._problems, self._changed, self._needs_restart = problems, changed, needs_restart

    def report(self, reasons: list[str], notes: list[str]) -> dict[str, Any]:
        """For `/readyz`. reasons, notes: the controller's own."""
        reasons = [*self._gone.values(), *reasons]
        return {
            "ready": not reasons,
            "reasons": reasons,
            "notes": [
                *notes,
                *(f"the changed configuration was not taken: {problem}" for problem in self._problems),
                *(f"a change of {key} waits for a restart" for key in self._needs_restart),
            ],
            "processes": {name: self.pids[name] for name in PROCESSES if name in self.pids},
            "configuration": {
                "reloads": self._reloads,
                "problems": self._problems,
                "changed": self._changed,
                "needs_restart": self._needs_restart,
            },
        }


def line(report: dict[str, Any], calls: int) -> str:
    """A report in one line, for `systemctl status`."""
    state = "ready" if report["ready"] else "not ready: " + "; ".join(report["reasons"])
    notes = f", {len(report['notes'])} notes in /readyz" if report["notes"] else ""
    return f"{calls} call{'' if calls == 1 else 's'}, {state}{notes}"
