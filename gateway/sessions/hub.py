"""The sessions of this node that have not ended: who they are, when they end, what is done about each step.

Owns the directory of live sessions, the sweep that ends those whose time is up, finalizing exactly once,
and the take-over of unfinished sessions at start. As their `Observer` it hands on what happens: to the
journal as jobs of `chronicle.py`, to the studio as audio. Knows no SQL and no socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import Fault, PeerFault
from gateway.sessions import chronicle, store
from gateway.sessions.chronicle import Teller
from gateway.sessions.database import Database
from gateway.sessions.ids import new_id
from gateway.sessions.journal import Journal
from gateway.sessions.lifecycle import Event, Lifecycle, Limits, Status
from gateway.sessions.live import LiveSession
from gateway.sessions.recordings import Recording
from gateway.sessions.store import Session
from gateway.sessions.studio import Studio
from gateway.sessions.transcripts import Turn
from gateway.speech.interpreter import Interpreter, Sink
from gateway.stream import messages as m

_log = structlog.get_logger(__name__)

Clock = Callable[[], float]
MakeInterpreter = Callable[[Session, Sink], Interpreter]
#: Seconds between two stored signs of life of a session: what a restart may be wrong by.
_SAVE_EVERY_S: Final = 10.0
#: How often the database is asked for sessions of ours that we have lost.
_LOST_EVERY_S: Final = 60

#: Stream messages that go to the timeline as they are, by the name they have there.
_TIMELINE: Final[dict[type, str]] = {
    m.CallJoined: "joined",
    m.CallLeft: "left",
    m.CallHeld: "held",
    m.CallResumed: "resumed",
    m.Dtmf: "dtmf",
    m.AudioCleared: "interrupted",
    m.CallError: "call_error",
}


class Hub:
    """The live sessions of one process. clock: Unix seconds. stored: called after events were stored."""

    def __init__(
        self,
        database: Database,
        teller: Teller,
        limits: Limits,
        interpreter: MakeInterpreter,
        studio: Studio,
        clock: Clock,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        self.database = database
        self.teller = teller
        self.clock = clock
        self.journal = Journal(database)
        self.studio = studio
        self.sessions: dict[str, LiveSession] = {}
        self._limits = limits
        self._interpreter = interpreter
        self.stored = stored
        self._saved_at: dict[str, float] = {}
        self._ended: dict[str, asyncio.Future[Session]] = {}
        self._finalizing: set[asyncio.Task[None]] = set()
        self._lost: set[str] = set()  # neither live nor ended when `find_lost` last looked

    # ---- the directory -----------------------------------------------------------------------------

    def adopt(self, record: Session) -> LiveSession:
        """Make a stored session live: one just created, or one that a former process or node left."""
        known = self.sessions.get(record.id)
        if known is not None:
            return known
        now = self.clock()
        status = Status(record.status)
        lifecycle = Lifecycle(
            self._limits,
            alive_at=record.active_at,
            status=status,
            started_at=record.started_at,
            ended_at=record.ended_at,
            end_reason=record.end_reason,
            detached_at=now if status in (Status.CONNECTING, Status.ACTIVE) else None,
        )
        live = LiveSession(record, lifecycle, self, lambda sink: self._interpreter(record, sink))
        self.sessions[record.id] = live
        self._saved_at[record.id] = now
        if record.started_at is not None and _recorded(record) and status is Status.ACTIVE:
            self.studio.start(record.id, record.started_at)
            self.studio.note(record.id, "service_restarted")
        if status is Status.ENDING:
            self._finalize(live)  # its process died between the end and its completion
        return live

    async def resume(self) -> int:
        """At start: take up what this node left unfinished. Returns how many sessions."""
        left = await self.database.run(store.unfinished, self.teller.node)
        for record in left:
            self.adopt(record)
        return len(left)

    def abandon(self, session_ids: set[str]) -> None:
        """Another node has taken these over: close their streams, store nothing more of them."""
        for session_id in session_ids & self.sessions.keys():
            live = self.sessions.pop(session_id)
            self._saved_at.pop(session_id, None)
            self.studio.abandon(session_id)
            live.suspend(1012, "the session has moved")
            _log.warning("session_moved_away", session_id=session_id)

    async def run(self) -> None:
        """Sweep once a second, and look for lost sessions now and then, until cancelled."""
        while True:
            for _ in range(_LOST_EVERY_S):
                await asyncio.sleep(1.0)
                self.sweep(self.clock())
            await self.find_lost()

    async def find_lost(self) -> None:
        """Take up sessions of ours that are neither live nor ended: their end could not be written.

        Those alone that were so the last time too; once may be a creation or an end that is under way.
        """
        try:
            left = await self.database.run(store.unfinished, self.teller.node)
        except SQLAlchemyError as error:
            _log.warning("unfinished_sessions_not_read", error=type(error).__name__)
            return
        lost = {record.id: record for record in left if record.id not in self.sessions}
        for session_id in self._lost & lost.keys():
            _log.warning("lost_session_taken_up", session_id=session_id)
            self.adopt(lost.pop(session_id))
        self._lost = set(lost)

    def sweep(self, now: float) -> None:
        """End what is due, store signs of life."""
        for live in tuple(self.sessions.values()):
            reason = live.lifecycle.due(now)
            if reason is not None:
                live.end(reason, now)
            elif now - self._saved_at[live.id] >= _SAVE_EVERY_S and self._has_news(live):
                self._save(live, now)

    async def end(self, session_id: str, reason: str | None, now: float) -> Session:
        """End a live session and wait until it is finalized. Ending twice gives the same record."""
        live = self.sessions.get(session_id)
        if live is None:
            raise PeerFault(Fault.SESSION_NOT_FOUND, f"session {session_id} is not live on this node")
        live.end(reason or "explicit_end", now, told="explicit_end")
        return await asyncio.shield(self._ended[session_id])

    def record_of(self, live: LiveSession, now: float) -> Session:
        """The session as it is at this moment."""
        record = live.record
        for name, value in self._values(live, now).items():
            setattr(record, name, value)
        return record

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
        await self.studio.close()
        self.journal.close()

    # ---- Observer ----------------------------------------------------------------------------------

    def changed(self, live: LiveSession, before: Status) -> None:
        status, now = live.lifecycle.status, self.clock()
        _log.info("session_status", session_id=live.id, status=str(status), before=str(before))
        if status is Status.ACTIVE:
            begun: list[Recording] = []
            if _recorded(live.record):
                self.studio.start(live.id, live.lifecycle.started_at or now)
                begun = _recordings(live.record, now)
            self._save(live, now, "session.started", begun)
        else:
            self._save(live, now)
        if status is Status.ENDING:
            self._finalize(live)

    def heard(self, live: LiveSession, speaker: str, timestamp_ms: int, mulaw: bytes) -> None:
        self.studio.heard(live.id, speaker, timestamp_ms, mulaw)

    def said(self, live: LiveSession, speaker: str, target: str | None, at_ms: int, mulaw: bytes) -> None:
        self.studio.said(live.id, speaker, target, mulaw)

    def spoken(self, live: LiveSession, turn: Turn) -> None:
        now = self.clock()
        turn.created_at = now
        self._tell(self.journal.write(chronicle.spoken, self.teller, live.id, turn, now))
        self.studio.note(live.id, "utterance", speaker=turn.speaker, text=turn.text)

    def settled(
        self, live: LiveSession, segment_id: str, translation: tuple[str, str] | None, metadata: dict[str, Any]
    ) -> None:
        now = self.clock()
        job = self.journal.write(chronicle.settled, self.teller, live.id, segment_id, translation, metadata, now)
        self._tell(job)

    def noted(self, live: LiveSession, message: msgspec.Struct) -> None:
        kind = _TIMELINE.get(type(message))
        if kind is not None:
            what = {name: value for name, value in msgspec.structs.asdict(message).items() if value is not None}
            self.studio.note(live.id, kind, **what)
        if isinstance(message, m.AudioCleared):
            self.studio.cleared(live.id, message.target, message.dropped_ms)
        elif isinstance(message, m.CallJoined):
            live.ringing.pop(message.call_id, None)
            self.studio.rejoined(live.id, message.speaker)
            told = {"direction": message.direction, "sip_call_id": message.sip_call_id}
            self._call(live, message.call_id, "active", "session.provider.connected", told)
        elif isinstance(message, m.CallLeft):
            self._call(live, message.call_id, "ended", "session.provider.disconnected")
        elif isinstance(message, m.CallError) and message.call_id is not None:
            live.ringing.pop(message.call_id, None)
            self._call(live, message.call_id, "failed", None)
        elif isinstance(message, m.CallHeld | m.CallResumed):
            self._call(live, message.call_id, "held" if isinstance(message, m.CallHeld) else "active", None)

    def streams(self, live: LiveSession, count: int) -> None:
        self.studio.note(live.id, "streams", count=count)

    def acts(self, live: LiveSession) -> None:
        live.count_translation(self.clock())
        self.studio.note(live.id, "acts_as", mode=live.mode)

    def processing(self, live: LiveSession, running: bool) -> None:
        live.agent.run(running, self.clock())

    # ---- storing -----------------------------------------------------------------------------------

    def _call(
        self, live: LiveSession, call_id: str, status: str, kind: str | None, told: dict[str, str | None] | None = None
    ) -> None:
        """The session's call as its representation shows it: the one of which something was heard last."""
        routing = live.record.options["routing"] or {}
        known = live.record.call
        if known is None or known["id"] != call_id:
            known = {"id": call_id, "direction": routing.get("direction", "inbound"), "sip_call_id": None}
        news = {name: value for name, value in (told or {}).items() if value is not None}
        live.record.call = known | news | {"status": status}
        self._save(live, self.clock(), kind)

    def dialled(self, live: LiveSession, call: dict[str, Any]) -> None:
        """A call was placed for the session; whether it joined already, the stream has told."""
        if live.record.call is None or live.record.call["id"] != call["id"]:
            live.ringing[call["id"]] = call["speaker"]
            told = {"direction": call["direction"], "sip_call_id": call["sip_call_id"]}
            self._call(live, call["id"], call["status"], None, told)

    def _values(self, live: LiveSession, now: float) -> dict[str, Any]:
        lifecycle = live.lifecycle
        return {
            "status": str(lifecycle.status),
            "active_at": lifecycle.alive_at,
            "started_at": lifecycle.started_at,
            "ended_at": lifecycle.ended_at,
            "end_reason": lifecycle.end_reason,
            "translation_seconds": live.translation.total(now),
            "ai_agent_seconds": live.agent.total(now),
        }

    def _has_news(self, live: LiveSession) -> bool:
        """Whether what is stored of a session's time has become wrong."""
        heard = live.lifecycle.alive_at > self._saved_at[live.id]
        return heard or live.translation.running or live.agent.running

    def _save(
        self, live: LiveSession, now: float, kind: str | None = None, begun: list[Recording] | None = None
    ) -> None:
        self.record_of(live, now)
        values = self._values(live, now) | {"call": store.to_json(live.record.call)}
        self._saved_at[live.id] = now
        self._tell(self.journal.write(chronicle.progressed, self.teller, live.id, values, kind, begun or [], now))

    def _tell(self, job: asyncio.Future[bool]) -> None:
        """Once an event is stored, have it delivered."""
        job.add_done_callback(lambda done: self.stored() if done.exception() is None and done.result() else None)

    def _finalize(self, live: LiveSession) -> None:
        self._ended[live.id] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._complete(live), name=f"finalize {live.id}")
        self._finalizing.add(task)
        task.add_done_callback(self._finalizing.discard)

    async def _complete(self, live: LiveSession) -> None:
        """From ending to ended. The record is on disk before anybody is told."""
        waiter = self._ended[live.id]
        try:
            recorded = None
            if _recorded(live.record) and live.lifecycle.started_at is not None:
                recorded = await self.studio.finish(live.id, live.lifecycle.started_at)
            now = self.clock()
            live.agent.run(False, now)
            live.lifecycle.handle(Event.FINALIZED, now)
            record = self.record_of(live, now)
            values = self._values(live, now)
            if await self.journal.write(chronicle.finalized, self.teller, live.id, values, recorded, now):
                self.stored()
            waiter.set_result(record)
        except Exception as error:  # whoever waits for the end must hear of it, and the log
            _log.exception("finalizing_failed", session_id=live.id)
            waiter.set_exception(error)
            waiter.exception()
        finally:
            self.sessions.pop(live.id, None)
            self._saved_at.pop(live.id, None)
            del self._ended[live.id]
        _log.info("session_ended", session_id=live.id, reason=live.record.end_reason)


def _recorded(record: Session) -> bool:
    return bool(record.options["recording"]["enabled"])


def _recordings(record: Session, now: float) -> list[Recording]:
    """One row for each rendering that the API lists."""
    channels = (record.options["recording"]["channels"], "customer", "agent")
    ids = sorted(new_id("rec", now) for _ in channels)  # which is the order that they are listed in
    return [
        Recording(one, record.id, record.organization_id, channel, "processing", 0.0, now)
        for one, channel in zip(ids, channels, strict=True)
    ]
