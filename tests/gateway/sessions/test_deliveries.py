"""gateway/sessions/deliveries.py"""

from __future__ import annotations

import json

from gateway.sessions import deliveries, keys, store
from gateway.sessions.database import Database
from gateway.sessions.deliveries import Delivery, Outcome
from tests.gateway.sessions.test_store import session

NOW = 1_800_000_000.0
URL = "https://hooks.example.com/a"


def put(database: Database, session_id: str, kind: str = "session.created", url: str = URL) -> None:
    database.call(deliveries.put, "org_default", session_id, kind, {"n": 1}, url, NOW)


def claim(database: Database, now: float, *not_to: str) -> list[Delivery]:
    return database.call(deliveries.claim, now, 100, frozenset(not_to))


def test_one_at_a_time_and_in_order_per_session(database: Database) -> None:
    for session_id in ("s1", "s1", "s2", "s1"):
        put(database, session_id)
    first = claim(database, NOW)
    assert [d.session_id for d in first] == ["s1", "s2"]
    assert claim(database, NOW) == []  # claimed by another
    database.call(deliveries.settle, first[0].number, NOW, Outcome("delivered", 1, 0.0, "HTTP 200"))
    (second,) = claim(database, NOW)
    assert second.session_id == "s1"
    assert second.number > first[0].number
    database.call(deliveries.settle, second.number, NOW, Outcome("pending", 1, NOW + 60, "HTTP 500"))
    assert claim(database, NOW + 59) == []  # the third waits behind the second
    (retried,) = [d for d in claim(database, NOW + 60) if d.session_id == "s1"]
    assert (retried.number, retried.attempts, retried.last_result) == (second.number, 1, "HTTP 500")
    database.call(deliveries.settle, retried.number, NOW, Outcome("dead", 8, 0.0, "HTTP 500"))
    (third,) = claim(database, NOW + 60, "nothing")
    assert third.number > second.number
    claimed_again = claim(database, NOW + 61 + 2 * deliveries.CLAIM_S)
    assert {d.session_id for d in claimed_again} == {"s1", "s2"}  # its node died


def test_spared_endpoints(database: Database) -> None:
    put(database, "s1", url=URL)
    put(database, "s2", url=URL + "/other")
    assert [d.session_id for d in claim(database, NOW, URL)] == ["s2"]


def test_the_address_is_the_sessions_then_the_organizations_then_the_default(database: Database) -> None:
    database.call(keys.ensure_organization, NOW)
    database.call(keys.ensure_organization, NOW, "org_b", webhook_url="https://b")
    one, two, three = session(1), session(2), session(3)
    one.webhook_url = "https://own"
    two.organization_id = "org_b"
    for each in (one, two, three):
        database.call(store.add_session, each)
    for each in (one, two, three):
        assert database.call(deliveries.emit, each.id, "session.created", {}, NOW, "https://default")
    found = {d.session_id: d.url for d in database.call(deliveries.list_deliveries)}
    assert found == {one.id: "https://own", two.id: "https://b", three.id: "https://default"}
    assert database.call(deliveries.emit, three.id, "session.created", {}, NOW, None) is None


def test_the_body(database: Database) -> None:
    put(database, "s1", "session.ended")
    (delivery,) = database.call(deliveries.list_deliveries)
    assert json.loads(delivery.body) == {
        "id": delivery.event_id, "type": "session.ended", "api_version": "v1",
        "created_at": "2027-01-15T08:00:00.000Z", "data": {"n": 1},
    }  # fmt: skip
    assert delivery.id.startswith("wh_del_")
    assert delivery.event_id.startswith("evt_")


def test_list_redeliver_forget(database: Database) -> None:
    put(database, "s1")
    put(database, "s2")
    (first, second) = claim(database, NOW)
    database.call(deliveries.settle, first.number, NOW + 1, Outcome("delivered", 1, 0.0, "HTTP 204"))
    (shown,) = database.call(lambda c: deliveries.list_deliveries(c, state="delivered"))
    assert (shown.delivered_at, shown.last_result) == (NOW + 1, "HTTP 204")
    assert [d.id for d in database.call(lambda c: deliveries.list_deliveries(c, session_id="s2"))] == [second.id]
    assert database.call(deliveries.redeliver, first.id, NOW + 5)
    assert not database.call(deliveries.redeliver, "wh_del_none", NOW + 5)
    (again,) = claim(database, NOW + 5)
    assert (again.id, again.attempts) == (first.id, 0)
    database.call(deliveries.settle, again.number, NOW, Outcome("delivered", 1, 0.0, ""))
    assert database.call(deliveries.forget, NOW + 1) == 1  # the pending one stays
    assert len(database.call(deliveries.list_deliveries)) == 1
