"""gateway/sessions/views.py: against the documented models."""

from __future__ import annotations

import pytest

from gateway.sessions.schema import SessionSummary, SessionView
from gateway.sessions.store import Session
from gateway.sessions.views import iso, session_view, summary_view


def session(**changes: object) -> Session:
    values: dict[str, object] = {
        "id": "sess_1", "organization_id": "org", "node": "main", "status": "active", "mode": "ai_agent",
        "source_language": None, "target_language": "es", "phone_number": None, "provider": None,
        "options": {"participants": [], "recording": {"enabled": False, "channels": "dual"}},
        "webhook_url": None, "metadata": {}, "call": None, "created_at": 0.0, "active_at": 0.0,
    }  # fmt: skip
    return Session(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("when", "text"),
    [(None, None), (0.0, "1970-01-01T00:00:00.000Z"), (1_800_000_000.1239, "2027-01-15T08:00:00.123Z")],
)
def test_times(when: float | None, text: str | None) -> None:
    assert iso(when) == text


def test_duration_is_live_while_active() -> None:
    live = session(started_at=10.0)
    assert session_view(live, 12.5, stream=None)["duration"] == 2.5
    ended = session(started_at=10.0, ended_at=11.0)
    assert session_view(ended, 99.0, stream=None)["usage"]["active_seconds"] == 1.0


def test_the_view_is_what_is_documented() -> None:
    stream = {"url": "ws://x", "token": "kst_x", "expires_at": "2027-01-15T08:00:00.123Z"}
    view = session_view(session(word_count=3), 1.0, stream=stream)
    assert set(view) == set(SessionView.model_fields)
    SessionView.model_validate(view, strict=True)
    assert view["transcript"] == {"available": True, "word_count": 3}
    assert set(session_view(session(), 1.0, stream=None)) == set(SessionView.model_fields) - {"stream"}
    SessionSummary.model_validate(summary_view(session(ended_at=1.0), 1.0), strict=True)
