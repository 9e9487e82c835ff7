"""Whether calls can be taken, and every reason why not, in words for the one who is woken at night.

Two answers for two questions: *alive* (`/livez`) is whether this process turns its loop, and is answered by
being answered; *ready* (`/readyz`) is whether a new call would work. A note is what an operator should know
though calls work. Holds what it is told; asks nobody.
"""

from __future__ import annotations

from typing import Any

from gateway.ops.labels import PROCESSES


class Health:
    """What is known of each part. A part is ready with an empty reason."""

    def __init__(self, embedded_sessions: bool) -> None:
        self._reasons = {"sip": "starting", "rtp": "starting", "sessions": "not asked yet", "draining": ""}
        self._notes: dict[str, list[str]] = {}
        self._listening: list[str] = []
        self.embedded_sessions = embedded_sessions
        self.processes: dict[str, int] = {}  #: process → pid

    def started(self, process: str, pid: int) -> None:
        self.processes[process] = pid

    def ended(self, process: str, reason: str) -> None:
        self.processes.pop(process, None)
        if process in self._reasons:
            self._reasons[process] = f"the process ended ({reason}); it is being replaced"

    def sip_ready(self, listening: list[str], version: str, max_calls: int, fit_for_network: bool) -> None:
        self._reasons["sip"] = "" if listening else "no address listens"
        self._listening = listening
        self._notes["sip"] = (
            []
            if fit_for_network
            else [
                f"this pjsua2 ({version}) takes {max_calls} calls and is not fit for a network: "
                "build the right one with tools/build-pjsua2"
            ]
        )

    def rtp_ready(self, notes: list[str]) -> None:
        self._reasons["rtp"] = ""
        self._notes["rtp"] = notes

    def sessions(self, reason: str) -> None:
        """The session service answered (an empty reason), or did not."""
        self._reasons["sessions"] = reason

    def draining(self, reason: str) -> None:
        self._reasons["draining"] = reason

    def note(self, part: str, notes: list[str]) -> None:
        self._notes[part] = notes

    @property
    def ready(self) -> bool:
        return not any(self._reasons.values())

    def report(self) -> dict[str, Any]:
        """For `/readyz`: `ready`, each check with its reason, the notes, what listens and who runs."""
        return {
            "ready": self.ready,
            "checks": [{"name": name, "ok": not why, "reason": why} for name, why in self._reasons.items()],
            "notes": [note for notes in self._notes.values() for note in notes],
            "listening": self._listening,
            "processes": {name: self.processes[name] for name in PROCESSES if name in self.processes},
        }

    def line(self) -> str:
        """For `systemctl status`."""
        reasons = [f"{name}: {why}" for name, why in self._reasons.items() if why]
        notes = sum(map(len, self._notes.values()))
        return "; ".join(reasons) or ("ready" + (f", {notes} notes (see /readyz)" if notes else ""))
