"""Webhook deliveries as they are stored: written with what they tell of, claimed, sent, settled.

Owns the queue's table and its order: of one session's deliveries only the oldest pending one is ever due.
Sending is `webhooks.py`'s.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, select, update

from gateway.sessions.ids import new_id
from gateway.sessions.models import deliveries, organizations, sessions
from gateway.sessions.views import iso

EVENTS: Final = (
    "session.created",
    "session.started",
    "session.ended",
    "session.provider.connected",
    "session.provider.disconnected",
    "transcript.segment",
    "transcript.ready",
    "recording.ready",
    "recording.failed",
)
#: A node that claimed a delivery has this long to settle it: the time-out of a request, and then some.
CLAIM_S: Final = 60.0
#: What was delivered or given up is shown for a month.
KEEP_S: Final = 30 * 86_400


class Delivery(NamedTuple):
    """A stored delivery. Times are Unix seconds; `number` is its place in the order of all."""

    number: int
    id: str
    event_id: str
    organization_id: str
    session_id: str
    type: str
    url: str
    body: str
    state: str
    attempts: int
    next_at: float
    last_result: str | None
    created_at: float
    delivered_at: float | None


_COLUMNS: Final = tuple(deliveries.c[name] for name in Delivery._fields)
#: Built once: every event asks.
_ADDRESS: Final = (
    select(sessions.c.organization_id, sessions.c.webhook_url, organizations.c.webhook_url.label("general"))
    .join(organizations, organizations.c.id == sessions.c.organization_id)
    .where(sessions.c.id == bindparam("session"))
)


def emit(
    connection: Connection, session_id: str, kind: str, data: Any, now: float, default_url: str | None
) -> str | None:
    """Store an event for the session's webhook: its own, its organization's, or the default one.

    Returns the event's id, None when nobody wants to know. Must run in the transaction of what it tells of.
    """
    row = connection.execute(_ADDRESS, {"session": session_id}).one()
    url = row.webhook_url or row.general or default_url
    if not url:
        return None
    return put(connection, row.organization_id, session_id, kind, data, url, now)


def put(
    connection: Connection, organization_id: str, session_id: str, kind: str, data: Any, url: str, now: float
) -> str:
    """Store one delivery; returns its event's id."""
    event_id = new_id("evt", now)
    body = {"id": event_id, "type": kind, "api_version": "v1", "created_at": iso(now), "data": data}
    connection.execute(
        insert(deliveries).values(
            id=new_id("wh_del", now),
            event_id=event_id,
            organization_id=organization_id,
            session_id=session_id,
            type=kind,
            url=url,
            body=msgspec.json.encode(body).decode(),
            state="pending",
            attempts=0,
            next_at=now,
            claimed_until=0.0,
            created_at=now,
        )
    )
    return event_id


def claim(connection: Connection, now: float, limit: int, not_to: frozenset[str]) -> list[Delivery]:
    """Take deliveries that are due, at most one a session, for this node to send. not_to: endpoints to spare."""
    earlier = deliveries.alias("earlier")
    query = (
        select(*_COLUMNS)
        .where(
            deliveries.c.state == "pending",
            deliveries.c.next_at <= now,
            deliveries.c.claimed_until <= now,
            ~exists().where(
                and_(
                    earlier.c.session_id == deliveries.c.session_id,
                    earlier.c.state == "pending",
                    earlier.c.number < deliveries.c.number,
                )
            ),
        )
        .order_by(deliveries.c.next_at, deliveries.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True, of=deliveries)  # SQLite leaves it out: it has one writer
    )
    if not_to:
        query = query.where(deliveries.c.url.not_in(sorted(not_to)))
    taken = [Delivery(**row._mapping) for row in connection.execute(query)]
    if taken:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.number.in_([delivery.number for delivery in taken]))
            .values(claimed_until=now + CLAIM_S)
        )
    return taken


class Outcome(NamedTuple):
    """What came of an attempt. state: pending (again at next_at), delivered, dead."""

    state: str
    attempts: int
    next_at: float
    result: str


def settle(connection: Connection, number: int, now: float, outcome: Outcome) -> None:
    """After an attempt."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.number == number, deliveries.c.state == "pending")
        .values(
            state=outcome.state,
            attempts=outcome.attempts,
            next_at=outcome.next_at,
            claimed_until=0.0,
            last_result=outcome.result[:200],
            delivered_at=now if outcome.state == "delivered" else None,
        )
    )


def release(connection: Connection, numbers: list[int]) -> None:
    """Give claimed deliveries back, with no attempt counted."""
    connection.execute(update(deliveries).where(deliveries.c.number.in_(numbers)).values(claimed_until=0.0))


def secrets_of(connection: Connection, organization_ids: set[str]) -> dict[str, str]:
    """The webhook secrets of those organizations that have one of their own."""
    query = select(organizations.c.id, organizations.c.webhook_secret).where(
        organizations.c.id.in_(sorted(organization_ids)), organizations.c.webhook_secret.is_not(None)
    )
    return {row.id: row.webhook_secret for row in connection.execute(query)}


def list_deliveries(
    connection: Connection, *, state: str | None = None, session_id: str | None = None, limit: int = 100
) -> list[Delivery]:
    """For the operator: the newest first."""
    query = select(*_COLUMNS).order_by(deliveries.c.number.desc()).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if session_id is not None:
        query = query.where(deliveries.c.session_id == session_id)
    return [Delivery(**row._mapping) for row in connection.execute(query)]


def forget(connection: Connection, before: float) -> int:
    """Delete settled deliveries stored before this time; returns how many."""
    old = (deliveries.c.state != "pending") & (deliveries.c.created_at < before)
    return connection.execute(delete(deliveries).where(old)).rowcount


def redeliver(connection: Connection, delivery_id: str, now: float) -> bool:
    """Send again from the first attempt on, whatever became of it. False: there is no such delivery."""
    done = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(state="pending", attempts=0, next_at=now, claimed_until=0.0, delivered_at=None)
    )
    return done.rowcount == 1
