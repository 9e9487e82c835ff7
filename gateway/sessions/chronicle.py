"""What of a session's life is stored together with the webhooks that tell of it. Jobs for the journal.

Owns which change raises which event (contract §3), each in one transaction: an event that was stored tells
of something that was stored, and a repeated finalization stores nothing. Each job returns whether there is an
event to deliver.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection

from gateway.sessions import deliveries, recordings, store, transcripts
from gateway.sessions.recordings import Recording
from gateway.sessions.studio import Outcome
from gateway.sessions.transcripts import Turn
from gateway.sessions.views import session_view


class Teller(NamedTuple):
    """Whose sessions these are, and where events go that have no address of their own."""

    node: str
    webhook_url: str | None


def created(connection: Connection, teller: Teller, session: store.Session, now: float) -> bool:
    store.add_session(connection, session)
    return _emit(connection, teller, session.id, "session.created", session_view(session, now, stream=None), now)


def progressed(
    connection: Connection,
    teller: Teller,
    session_id: str,
    values: dict[str, Any],
    kind: str | None,
    recording: list[Recording],
    now: float,
) -> bool:
    """A status, a sign of life, a call; kind: the event that it is. recording: begun now."""
    if not store.save_progress(connection, session_id, teller.node, values):
        return False
    for one in recording:
        recordings.add(connection, one)
    if kind is None:
        return False
    session = store.find_session(connection, session_id, None)
    return _emit(connection, teller, session_id, kind, session_view(session, now, stream=None), now)


def spoken(connection: Connection, teller: Teller, session_id: str, turn: Turn, now: float) -> bool:
    numbered = transcripts.add(connection, session_id, turn)
    data = {"object": "transcript.segment", "session_id": session_id, **transcripts.turn_view(numbered)}
    return _emit(connection, teller, session_id, "transcript.segment", data, now)


def settled(
    connection: Connection,
    teller: Teller,
    session_id: str,
    segment_id: str,
    translation: tuple[str, str] | None,
    metadata: dict[str, Any],
    now: float,
) -> bool:
    """What became of a turn. Told once more only when it was interrupted: then its words are others."""
    turn = transcripts.amend(connection, session_id, segment_id, translation, metadata)
    if turn is None or not metadata.get("interrupted"):
        return False
    data = {"object": "transcript.segment", "session_id": session_id, **transcripts.turn_view(turn)}
    return _emit(connection, teller, session_id, "transcript.segment", data, now)


def finalized(
    connection: Connection,
    teller: Teller,
    session_id: str,
    values: dict[str, Any],
    recorded: Outcome | None,
    now: float,
) -> bool:
    """The end: recordings, transcript and status, and all that is told of them, at once or not at all."""
    if not store.save_progress(connection, session_id, teller.node, values):
        return False  # ended before, or another node's by now
    if recorded is not None:
        status = "ready" if recorded.good else "failed"
        for one in recordings.finish(connection, session_id, status, recorded.duration):
            _emit(connection, teller, session_id, f"recording.{status}", recordings.view(one), now)
    session = store.find_session(connection, session_id, None)
    if session.options["transcription"]["enabled"]:
        transcript = transcripts.transcript_view(session, transcripts.load(connection, session_id), now)
        _emit(connection, teller, session_id, "transcript.ready", transcript, now)
    return _emit(connection, teller, session_id, "session.ended", session_view(session, now, stream=None), now)


def _emit(connection: Connection, teller: Teller, session_id: str, kind: str, data: Any, now: float) -> bool:
    return deliveries.emit(connection, session_id, kind, data, now, teller.webhook_url) is not None
