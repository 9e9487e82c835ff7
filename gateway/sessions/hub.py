"""The sessions of this node that have not ended: who they are, when they end, what of them is stored.

Owns the directory of live sessions, the sweep that ends those whose time is up, finalizing exactly once,
and the take-over of unfinished sessions at start. Knows SQL only as jobs of `store.py`, streams only as
peers of a `LiveSession`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from gateway.errors import Fault, PeerFault
from gateway.sessions import store
from gateway.sessions.database import Database
from gateway.sessions.journal import Journal
from gateway.sessions.lifecycle import Event, Lifecycle, Limits, Status
from gateway.sessions.live import LiveSession
from gateway.sessions.store import Session
from gateway.speech.interpreter import Interpreter, Sink

_log = structlog.get_logger(__name__)

Clock = Callable[[], float]
MakeInterpreter = Callable[[Session, Sink], Interpreter]
#: Seconds between two stored signs of life of a session: what a restart may be wrong by.
_SAVE_EVERY_S: Final = 10.0


class Hub:
    """The live sessions of one process. clock: Unix seconds."""

    def __init__(
        self, database: Database, node: str, limits: Limits, interpreter: MakeInterpreter, clock: Clock
    ) -> None:
        self.database = database
        self.node: Final = node
        self.clock = clock
        self.journal = Journal(database)
        self.sessions: dict[str, LiveSession] = {}
        self._limits = limits
        self._interpreter = interpreter
        self._saved_at: dict[str, float] = {}
        self._ended: dict[str, asyncio.Future[Session]] = {}
        self._finalizing: set[asyncio.Task[None]] = set()

    def adopt(self, record: Session) -> LiveSession:
        """Make a stored session live: one just created, or one that a former process left."""
        known = self.sessions.get(record.id)
        if known is not None:
            return known
        status = Status(record.status)
        lifecycle = Lifecycle(
            self._limits,
            alive_at=record.active_at,
            status=status,
            started_at=record.started_at,
            ended_at=record.ended_at,
            end_reason=record.end_reason,
            detached_at=self.clock() if status in (Status.CONNECTING, Status.ACTIVE) else None,
        )
        live = LiveSession(record, lifecycle, self, lambda sink: self._interpreter(record, sink))
        self.sessions[record.id] = live
        self._saved_at[record.id] = self.clock()
        return live

    async def resume(self) -> int:
        """At start: take up what this node left unfinished. Returns how many sessions."""
        left = await self.database.run(store.unfinished, self.node)
        for record in left:
            live = self.adopt(record)
            if live.lifecycle.status is Status.ENDING:
                self._finalize(live)  # it was killed between the end and its completion
        return len(left)

    async def run(self) -> None:
        """Sweep once a second until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self.sweep(self.clock())

    def sweep(self, now: float) -> None:
        """End what is due, store signs of life."""
        for live in tuple(self.sessions.values()):
            reason = live.lifecycle.due(now)
            if reason is not None:
                live.end(reason, now)
            elif now - self._saved_at[live.id] >= _SAVE_EVERY_S:
                self._save(live, now)

    async def end(self, session_id: str, reason: str | None, now: float) -> Session:
        """End a live session and wait until it is finalized. Ending twice gives the same record."""
        live = self.sessions.get(session_id)
        if live is None:
            raise PeerFault(Fault.SESSION_NOT_FOUND, f"session {session_id} is not live on this node")
        live.end(reason or "explicit_end", now, told="explicit_end")
        return await asyncio.shield(self._ended[session_id])

    async def close(self) -> None:
        """The service stops: streams are closed, sessions stay for the next process.

        The journal must run meanwhile, and returns when all of it is written.
        """
        for live in tuple(self.sessions.values()):
            live.suspend(1012, "the service restarts")
        if self._finalizing:
            await asyncio.wait(self._finalizing)
        now = self.clock()
        for live in self.sessions.values():
            self._save(live, now)
        self.journal.close()

    # ---- Observer ----------------------------------------------------------------------------------

    def changed(self, live: LiveSession, before: Status) -> None:
        _log.info("session_status", session_id=live.id, status=str(live.lifecycle.status), before=str(before))
        self._save(live, live.lifecycle.alive_at)
        if live.lifecycle.status is Status.ENDING:
            self._finalize(live)

    def heard(self, live: LiveSession, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        pass

    def said(self, live: LiveSession, speaker: str, target: str | None, at_ms: int, mulaw: bytes) -> None:
        pass

    def noted(self, live: LiveSession, message: msgspec.Struct) -> None:
        pass

    # ---- storing -----------------------------------------------------------------------------------

    def _save(self, live: LiveSession, now: float) -> asyncio.Future[None]:
        lifecycle, record = live.lifecycle, live.record
        values: dict[str, Any] = {
            "status": str(lifecycle.status),
            "active_at": lifecycle.alive_at,
            "started_at": lifecycle.started_at,
            "ended_at": lifecycle.ended_at,
            "end_reason": lifecycle.end_reason,
        }
        for name, value in values.items():
            setattr(record, name, value)
        self._saved_at[live.id] = now
        return self.journal.write(store.save_progress, live.id, values)

    def _finalize(self, live: LiveSession) -> None:
        self._ended[live.id] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._complete(live), name=f"finalize {live.id}")
        self._finalizing.add(task)
        task.add_done_callback(self._finalizing.discard)

    async def _complete(self, live: LiveSession) -> None:
        """From ending to ended. The record is on disk before anybody is told."""
        live.lifecycle.handle(Event.FINALIZED, self.clock())
        waiter = self._ended[live.id]
        try:
            await self._save(live, self.clock())
            waiter.set_result(live.record)
        except Exception as error:  # the journal has logged it; whoever waits for the end must hear of it
            waiter.set_exception(error)
            waiter.exception()
        finally:
            del self.sessions[live.id], self._saved_at[live.id], self._ended[live.id]
        _log.info("session_ended", session_id=live.id, reason=live.record.end_reason)
