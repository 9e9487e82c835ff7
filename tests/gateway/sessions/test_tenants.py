"""gateway/sessions/tenants.py"""

from __future__ import annotations

import pytest

from gateway.sessions import keys, store, tenants
from gateway.sessions.database import Database

NOW = 1_800_000_000.0


def test_an_organization_is_changed_where_it_is_named(database: Database) -> None:
    database.call(keys.ensure_organization, NOW, "org_a", name="A", credits_limit=5)
    assert database.call(tenants.change_organization, "org_a", {"active": False, "credits_limit": None})
    assert database.call(tenants.change_organization, "org_a", {})
    assert not database.call(tenants.change_organization, "org_none", {"active": False})
    assert not database.call(tenants.change_organization, "org_none", {})
    (only,) = database.call(tenants.list_organizations)
    assert only == tenants.Organization("org_a", "A", False, None, 0, keys.DEFAULT_RATE_LIMIT, None)


def test_a_default_connection_takes_the_place_of_the_former(database: Database) -> None:
    for organization in ("org_a", "org_b"):
        database.call(keys.ensure_organization, NOW, organization)
    other = database.call(tenants.add_connection, NOW, "org_b", "telnyx", is_default=True)
    first = database.call(tenants.add_connection, NOW, "org_a", "sip", "+15551234567", is_default=True)
    second = database.call(tenants.add_connection, NOW + 1, "org_a", "twilio", is_default=True)
    assert database.call(tenants.list_connections) == [first._replace(is_default=False), second, other]
    found = database.call(store.find_connection, "org_a")
    assert found is not None
    assert found.id == second.id
    assert database.call(tenants.remove_connection, second.id)
    assert not database.call(tenants.remove_connection, second.id)
    assert database.call(store.find_connection, "org_a") is None
    with pytest.raises(LookupError, match="org_none"):
        database.call(tenants.add_connection, NOW, "org_none", "sip")
