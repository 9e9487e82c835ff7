"""gateway/sessions/keys.py"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from gateway.errors import Fault, PeerFault
from gateway.sessions import keys, store
from gateway.sessions.database import Database
from gateway.sessions.models import api_keys

NOW = 1_800_000_000.0


def test_a_key_is_stored_as_its_digest_only(database: Database) -> None:
    key, stored = database.call(keys.create, NOW, name="backend")
    assert key.startswith("sk_live_")
    assert len(key) == 40
    row = database.call(lambda c: c.execute(select(api_keys)).one())
    assert row.digest == keys.digest(key)
    assert key not in repr(row)
    assert stored.hint == key[:12]
    assert keys.create.__kwdefaults__["live"] is True


def test_created_listed_revoked(database: Database) -> None:
    first, stored = database.call(keys.create, NOW, name="a")
    _, second = database.call(keys.create, NOW + 1, name="b", live=False, scope="read")
    assert database.call(keys.list_keys) == [stored, second]
    assert second.hint.startswith("sk_test_")
    assert database.call(keys.revoke, stored.id, NOW + 2)
    assert not database.call(keys.revoke, stored.id, NOW + 3)
    assert not database.call(keys.revoke, "key_none", NOW + 3)
    assert database.call(keys.list_keys)[0].revoked_at == NOW + 2
    assert fault(database, first) is Fault.REVOKED_API_KEY


def admitted(database: Database, key: str, now: float = NOW) -> store.Principal:
    digest = keys.digest(key)
    return store.admit(database.peek(store.find_keys, [digest]).get(digest), now)


def fault(database: Database, key: str, now: float = NOW) -> Fault:
    with pytest.raises(PeerFault) as caught:
        admitted(database, key, now)
    return caught.value.fault


def test_an_expired_and_an_unknown_key(database: Database) -> None:
    key, _ = database.call(keys.create, NOW, name="short", expires_at=NOW + 10)
    assert admitted(database, key, NOW + 9.9).scope == "write"
    assert fault(database, key, NOW + 10) is Fault.EXPIRED_API_KEY
    assert fault(database, key + "x") is Fault.INVALID_API_KEY


def test_a_key_of_an_organization_that_is_not_there(database: Database) -> None:
    with pytest.raises(LookupError, match="org_none"):
        database.call(keys.create, NOW, name="x", organization_id="org_none")


def test_an_organization_is_made_once(database: Database) -> None:
    database.call(keys.ensure_organization, NOW, "org_a", credits_limit=5)
    database.call(keys.ensure_organization, NOW, "org_a", credits_limit=9)
    key, _ = database.call(keys.create, NOW, name="x", organization_id="org_a")
    assert admitted(database, key).credits_limit == 5
