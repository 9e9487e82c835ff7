"""What the sip process counts and says: every counter by name, and log lines that strangers can not multiply.

Owns the list of counters, present from the start, and the bound on lines a second. Refuses to know what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.sip import admission
from gateway.sip.headers import Defect

Log = Callable[[dict[str, Any]], None]

LOG_LINES_PER_S: Final = 20
#: Every counter of `AgentCounters`, present from the start.
COUNTERS: Final = (
    *("invites", "rung", "accepted", "rejected", "confirmed", "ended", "cancelled", "dialled"),
    *("reinvites", "updates", "infos", "refers", "refers_declined", "late_commands", "stack_errors", "callback_faults"),
    *("log_lines", "log_dropped", "events_dropped", "refused", "options", "not_allowed", "no_dialog"),
    *(f"refused_{defect.label}" for defect in Defect),
    *admission.COUNTERS,
    *("names_slow", "names_refused"),
)


class Ledger:
    """log: takes dicts with `level` and `event`. clock: monotonic seconds."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._said: dict[str, tuple[int, int]] = {}
        self.counters = dict.fromkeys(COUNTERS, 0)

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def refuse(self, defect: Defect) -> None:
        """Count a message that was not taken."""
        self.count("refused")
        self.count(f"refused_{defect.label}")

    def say(self, level: str, event: str, **fields: Any) -> None:
        """A log line, at most so many a second of each kind: strangers must not fill the disk."""
        now = int(self._clock())
        second, lines = self._said.get(event, (now, 0))
        self._said[event] = (now, lines + 1 if second == now else 1)
        if self._said[event][1] > LOG_LINES_PER_S:
            self.count("log_dropped")
        else:
            self._log({"level": level, "event": event, **fields})
