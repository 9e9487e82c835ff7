"""How a stored session looks to an API client. Owns the JSON of answers; reads no clock and no database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.sessions.store import Session


def iso(when: float | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def active_seconds(session: Session, now: float) -> float:
    """First audio to the end, or to now."""
    if session.started_at is None:
        return 0.0
    return max(0.0, (now if session.ended_at is None else session.ended_at) - session.started_at)


def session_view(session: Session, now: float, *, stream: dict[str, Any] | None) -> dict[str, Any]:
    """The session representation. stream: `{url, token, expires_at}`, None once it has ended."""
    active = round(active_seconds(session, now), 3)
    options = session.options
    view: dict[str, Any] = {
        "id": session.id,
        "object": "session",
        "status": session.status,
        "mode": session.mode,
        "provider": session.provider,
        "phone_number": session.phone_number,
        "source_language": session.source_language,
        "target_language": session.target_language,
        "call": session.call,
        "participants": options["participants"],
        "recording": options["recording"],
        "transcript": {"available": session.word_count > 0, "word_count": session.word_count},
        "metadata": session.metadata,
        "duration": active,
        "usage": {
            "active_seconds": active,
            "translation_seconds": round(session.translation_seconds, 3),
            "ai_agent_seconds": round(session.ai_agent_seconds, 3),
        },
        "created_at": iso(session.created_at),
        "started_at": iso(session.started_at),
        "ended_at": iso(session.ended_at),
        "end_reason": session.end_reason,
    }
    if stream is not None:
        view["stream"] = stream
    return view


def summary_view(session: Session, now: float) -> dict[str, Any]:
    """What ending a session answers."""
    return {
        "id": session.id,
        "object": "session",
        "status": "ended",
        "duration_seconds": round(active_seconds(session, now), 3),
        "ended_at": iso(session.ended_at),
    }
