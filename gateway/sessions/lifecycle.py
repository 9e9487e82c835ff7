"""The life of one session: created → connecting → active → ending → ended, as a table.

Theory of operation. Events come from streams, from REST and from the clock; each moves the status as
`TABLE` says, and an event that has no row for the present status is counted and changes nothing. Every
way to an end goes through `ending`, where transcript and recording are completed, and only `finalized`
leads on: so finalizing happens exactly once, whoever asked for the end and however often.

Two clocks can end a session by themselves: the reconnection window, which runs while no stream is
attached after there was one, and the inactivity timeout, which runs while nothing is heard from anybody.
Times are Unix seconds and come as arguments; nothing here reads a clock or touches a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    CREATED = "created"
    CONNECTING = "connecting"
    ACTIVE = "active"
    ENDING = "ending"
    ENDED = "ended"


class Event(StrEnum):
    ATTACHED = "attached"  # a stream, or a leg being set up
    DETACHED = "detached"  # the last stream has gone
    AUDIO = "audio"
    END = "end"
    FINALIZED = "finalized"


TABLE: Final[dict[tuple[Status, Event], Status]] = {
    (Status.CREATED, Event.ATTACHED): Status.CONNECTING,
    (Status.CREATED, Event.END): Status.ENDING,
    (Status.CONNECTING, Event.ATTACHED): Status.CONNECTING,
    (Status.CONNECTING, Event.DETACHED): Status.CONNECTING,
    (Status.CONNECTING, Event.AUDIO): Status.ACTIVE,
    (Status.CONNECTING, Event.END): Status.ENDING,
    (Status.ACTIVE, Event.ATTACHED): Status.ACTIVE,
    (Status.ACTIVE, Event.DETACHED): Status.ACTIVE,
    (Status.ACTIVE, Event.AUDIO): Status.ACTIVE,
    (Status.ACTIVE, Event.END): Status.ENDING,
    (Status.ENDING, Event.DETACHED): Status.ENDING,
    (Status.ENDING, Event.FINALIZED): Status.ENDED,
}


@dataclass(frozen=True)
class Limits:
    """reconnect_s: without any stream, after there was one. inactive_s: without a sign of life."""

    reconnect_s: float = 300.0
    inactive_s: float = 1800.0


@dataclass
class Lifecycle:
    """One session's state. `alive_at` is the last sign of life, `detached_at` when the last stream left."""

    limits: Limits
    alive_at: float
    status: Status = Status.CREATED
    started_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    detached_at: float | None = None
    unexpected: dict[tuple[Status, Event], int] = field(default_factory=dict)

    def handle(self, event: Event, now: float, reason: str | None = None) -> bool:
        """Apply an event. True when the status has changed. reason: for END, why."""
        before = self.status
        after = TABLE.get((before, event))
        if after is None:
            self.unexpected[before, event] = self.unexpected.get((before, event), 0) + 1
            return False
        self.status = after
        self.alive_at = max(self.alive_at, now)
        if event is Event.ATTACHED:
            self.detached_at = None
        elif event is Event.DETACHED:
            self.detached_at = now
        elif event is Event.AUDIO and before is Status.CONNECTING:
            self.started_at = now
        elif event is Event.END:
            self.end_reason = reason
            self.ended_at = now
        return after is not before

    def touch(self, now: float) -> None:
        """A sign of life that is no event: a ping, a digit, audio of a session that is active already."""
        self.alive_at = now

    def due(self, now: float) -> str | None:
        """The reason for which the session must end now by itself, or None."""
        if self.status in (Status.ENDING, Status.ENDED):
            return None
        if self.detached_at is not None and now - self.detached_at >= self.limits.reconnect_s:
            return "timeout"
        if now - self.alive_at >= self.limits.inactive_s:
            return "timeout"
        return None

    def active_seconds(self, now: float) -> float:
        """Session time from the first audio on; holds and gaps between calls count."""
        if self.started_at is None:
            return 0.0
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)
