"""Answers of the REST API, and those that an Idempotency-Key keeps for whoever asks the same again.

Owns how a stored answer becomes an answer and the other way round. What makes two requests the same is
`idempotency.py`'s, the table is `store.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.sessions import idempotency, store
from gateway.sessions.idempotency import Ticket
from gateway.sessions.store import Stored


@dataclass(frozen=True)
class Reply:
    """An answer: HTTP status, headers beyond the usual, JSON body."""

    status: int
    body: bytes
    headers: dict[str, str]
    #: Of the organization, where the request took one.
    credits_used: int | None = None


def recall(connection: Connection, ticket: Ticket | None, now: float) -> Reply | None:
    """The first successful answer to this request, None when there was none. Raises PeerFault: another body."""
    if ticket is None:
        return None
    since = now - store.KEEP_ANSWERS_S
    stored = store.recall(connection, ticket.organization_id, ticket.route, ticket.key, since)
    if stored is None:
        return None
    idempotency.check(ticket, stored)
    return Reply(stored.status, stored.body, stored.headers | {"Idempotent-Replayed": "true"})


def remember(connection: Connection, ticket: Ticket | None, reply: Reply, now: float) -> None:
    """Keep a successful answer. Raises PeerFault when another node has just kept one."""
    if ticket is None:
        return
    stored = Stored(ticket.digest, reply.status, reply.headers, reply.body)
    if not store.remember(connection, ticket.organization_id, ticket.route, ticket.key, stored, now):
        raise idempotency.conflict()
