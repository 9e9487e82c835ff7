"""gateway/sessions/store.py"""

from __future__ import annotations

import pytest

from gateway.errors import Fault, PeerFault
from gateway.sessions import keys, store
from gateway.sessions.database import Database
from gateway.sessions.store import Session, Stored

NOW = 1_800_000_000.0


def session(number: int = 1, node: str = "main", status: str = "created") -> Session:
    return Session(
        id=f"sess_{number}", organization_id="org_default", node=node, status=status, mode="ai_agent",
        source_language=None, target_language="es", phone_number=None, provider={"type": "sip"},
        options={"tools": [{"a": "\x00"}]}, webhook_url=None, metadata={"k\x00": "v"}, call=None,
        created_at=NOW + number, active_at=NOW,
    )  # fmt: skip


def test_a_session_comes_back_as_it_was(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    database.call(store.add_session, session())
    assert database.call(store.find_session, "sess_1", "org_default") == session()
    assert database.call(store.find_session, "sess_1", None) == session()
    assert database.peek(store.session_status, "sess_1") == "created"
    assert database.peek(store.session_status, "sess_2") is None
    for session_id, organization in (("sess_2", None), ("sess_1", "org_b")):
        with pytest.raises(PeerFault) as caught:
            database.call(store.find_session, session_id, organization)
        assert caught.value.fault is Fault.SESSION_NOT_FOUND


def test_what_has_ended_stays_as_it_is(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    database.call(store.add_session, session())
    save = store.save_progress
    assert not database.call(save, "sess_1", "other", {"status": "ended"})
    assert database.call(save, "sess_1", "main", {"status": "ended", "end_reason": "a"})
    assert not database.call(save, "sess_1", "main", {"status": "active", "end_reason": "b"})
    found = database.call(store.find_session, "sess_1", None)
    assert (found.status, found.end_reason) == ("ended", "a")


def test_unfinished_are_this_nodes(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    for number, node, status in ((2, "main", "active"), (1, "main", "created"), (3, "b", "active"),
                                 (4, "main", "ended")):  # fmt: skip
        database.call(store.add_session, session(number, node, status))
    assert [s.id for s in database.call(store.unfinished, "main")] == ["sess_1", "sess_2"]


def test_the_token_secret_is_made_once(database: Database) -> None:
    secret = database.call(store.token_secret)
    assert len(secret) == 32
    assert database.call(store.token_secret) == secret


def test_answers_are_kept_for_a_day(database: Database) -> None:
    answer = Stored("d", 201, {"Deprecation": "true"}, b'{"a":1}')
    assert database.call(store.remember, "org", "POST /x", "k", answer, NOW)
    assert not database.call(store.remember, "org", "POST /x", "k", Stored("other", 200, {}, b"{}"), NOW + 10)
    assert database.call(store.recall, "org", "POST /x", "k", NOW - 1) == answer
    assert database.call(store.recall, "org", "POST /x", "k", NOW) is None
    assert database.call(store.recall, "org", "POST /y", "k", NOW - 1) is None
    assert database.call(store.recall, "org2", "POST /x", "k", NOW - 1) is None
    newer = Stored("e", 200, {}, b"{}")
    assert database.call(store.remember, "org", "POST /x", "k", newer, NOW + 90_000)
    assert database.call(store.recall, "org", "POST /x", "k", NOW) == newer
    assert database.call(store.forget_answers, NOW + 90_000) == 1


def test_an_inactive_organization(database: Database) -> None:
    from sqlalchemy import update

    from gateway.sessions.models import organizations

    key, _ = database.call(keys.create, NOW, name="x")
    digest = keys.digest(key)
    database.call(lambda c: c.execute(update(organizations).values(active=False)))
    with pytest.raises(PeerFault) as caught:
        store.admit(database.peek(store.find_keys, [digest])[digest], NOW)
    assert caught.value.fault is Fault.ORGANIZATION_INACTIVE
