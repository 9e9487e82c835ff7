"""gateway/sessions/toolhooks.py"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import pytest

from gateway.errors import Fault, PeerFault
from gateway.sessions import keys
from gateway.sessions.database import Database
from gateway.sessions.store import Session
from gateway.sessions.toolhooks import ToolHooks
from gateway.sessions.webhooks import Answer
from gateway.speech.toolbox import Asked, ToolAnswer
from tests.gateway.sessions.test_live import record
from tests.support.session_service import Switchboard

ASKED = Asked("https://example.com/order", "order", "c1", {"id": "7"}, 3.0)


class Http:
    """Answers every request alike, and notes it."""

    def __init__(self, answer: Answer, text: bytes = b"") -> None:
        self.requests: list[tuple[str, bytes, dict[str, str], float]] = []
        self._answer = (answer, text)

    async def ask(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[Answer, bytes]:
        self.requests.append((url, body, headers, timeout_s))
        return self._answer


@pytest.fixture
def session(database: Database) -> Session:
    database.call(keys.ensure_organization, 0.0, "org", webhook_secret="own secret")
    return record()


def ask(database: Database, http: Http, session: Session, secret: str | None = "default") -> ToolAnswer:
    hooks = ToolHooks(http, Switchboard(), database, lambda: 1_800_000_000.0, secret)
    return asyncio.run(_ask(hooks, session))


async def _ask(hooks: ToolHooks, session: Session) -> ToolAnswer:
    return await hooks.reach(session).ask(ASKED)


def test_the_request_is_an_event_signed_for_its_organization(database: Database, session: Session) -> None:
    http = Http(Answer(200, ""), b'{"status": "shipped"}')
    assert ask(database, http, session) == ToolAnswer(True, '{"status": "shipped"}')
    ((url, body, headers, timeout_s),) = http.requests
    assert (url, timeout_s) == ("https://example.com/order", 3.0)
    told: dict[str, Any] = json.loads(body)
    assert (told["type"], told["api_version"], told["created_at"]) == ("tool.call", "v1", "2027-01-15T08:00:00.000Z")
    assert told["id"].startswith("evt_")
    assert told["data"] == {
        "object": "tool_call", "id": "c1", "session_id": session.id, "tool": "order", "arguments": {"id": "7"},
        "metadata": {},
    }  # fmt: skip
    signed = hmac.new(b"own secret", b"1800000000." + body, hashlib.sha256).hexdigest()
    assert headers["Kallglot-Signature"] == f"t=1800000000,v1={signed}"
    assert headers["Kallglot-Webhook-Id"].startswith("wh_del_")


def test_an_organization_without_a_secret_uses_the_default_or_none(database: Database) -> None:
    database.call(keys.ensure_organization, 0.0, "org")
    http = Http(Answer(200, ""), b"ok")
    ask(database, http, record())
    assert "Kallglot-Signature" in http.requests[0][2]
    ask(database, http, record(), secret=None)
    assert "Kallglot-Signature" not in http.requests[1][2]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(500, ""), "the tool answered HTTP 500"),
        (Answer(None, "TimeoutError"), "TimeoutError"),
        (Answer(None, "leads to 10.0.0.1", refused=True), "leads to 10.0.0.1"),
    ],
)
def test_failures_are_answers(database: Database, session: Session, answer: Answer, text: str) -> None:
    assert ask(database, Http(answer, b"secret page"), session) == ToolAnswer(False, text)


def test_octets_that_are_no_text_are_replaced(database: Database, session: Session) -> None:
    assert ask(database, Http(Answer(200, ""), b"\xff"), session) == ToolAnswer(True, "\ufffd")


def test_calls_are_placed_by_the_gateway(database: Database, session: Session) -> None:
    async def scenario() -> None:
        switchboard = Switchboard()
        hooks = ToolHooks(Http(Answer(200, "")), switchboard, database, lambda: 0.0, None)
        reach = hooks.reach(session)
        assert reach.dial is not None
        assert await reach.dial("sip:600@pbx.example.com") == ""
        assert switchboard.orders == [{"session_id": session.id, "to": "sip:600@pbx.example.com", "speaker": "agent"}]
        switchboard.refusal = PeerFault(Fault.DIAL_FAILED, "486 Busy Here")
        assert await reach.dial("sip:600@pbx.example.com") == "486 Busy Here"

    asyncio.run(scenario())


def test_who_was_greeted_before_a_restart_is_not_greeted_again(database: Database, session: Session) -> None:
    hooks = ToolHooks(Http(Answer(200, "")), Switchboard(), database, lambda: 0.0, None)
    assert not hooks.reach(session).greeted
    session.started_at = 1.0
    assert hooks.reach(session).greeted
