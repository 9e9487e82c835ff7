"""The queries: each function is one job for `Database.run`, takes a connection first and the time as `now`.

Owns what is read and written together. Decides nothing about status or time-outs: `lifecycle.py` does.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.engine import Row

from gateway.errors import Fault, PeerFault
from gateway.sessions.models import api_keys, connections, idempotency, organizations, sessions, settings

T = TypeVar("T")
_TOKEN_SECRET: Final = "stream_token_secret"
#: Idempotent answers live for a day (contract §1).
KEEP_ANSWERS_S: Final = 24 * 3600


class Session(msgspec.Struct):
    """A stored session. `provider`, `options`, `metadata` and `call` are decoded JSON; times Unix seconds."""

    id: str
    organization_id: str
    node: str
    status: str
    mode: str
    source_language: str | None
    target_language: str | None
    phone_number: str | None
    provider: Any
    options: dict[str, Any]
    webhook_url: str | None
    metadata: dict[str, str]
    call: dict[str, Any] | None
    created_at: float
    active_at: float
    started_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    translation_seconds: float = 0.0
    ai_agent_seconds: float = 0.0
    word_count: int = 0


_COLUMNS: Final = tuple(sessions.c[field] for field in Session.__struct_fields__)
_JSON: Final = ("provider", "options", "metadata", "call")

# The statements of every request, built once: building one takes longer than carrying it out.
_KEYS: Final = (
    select(
        api_keys.c.digest,
        api_keys.c.scope,
        api_keys.c.expires_at,
        api_keys.c.revoked_at,
        organizations.c.id,
        organizations.c.active,
        organizations.c.credits_limit,
        organizations.c.credits_used,
        organizations.c.rate_limit,
    )
    .join(organizations, organizations.c.id == api_keys.c.organization_id)
    .where(api_keys.c.digest.in_(bindparam("digests", expanding=True)))
)
_SPEND: Final = (
    update(organizations)
    .where(
        organizations.c.id == bindparam("organization"),
        organizations.c.active,
        or_(
            organizations.c.credits_limit.is_(None),
            organizations.c.credits_used < organizations.c.credits_limit,
        ),
    )
    .values(credits_used=organizations.c.credits_used + 1)
    .returning(organizations.c.credits_used)
)
_CONNECTION: Final = (
    select(connections.c.id, connections.c.provider, connections.c.phone_number)
    .where(connections.c.organization_id == bindparam("organization"))
    .order_by(connections.c.id)
)
_CONNECTION_BY_ID: Final = _CONNECTION.where(connections.c.id == bindparam("connection"))
_CONNECTION_BY_NUMBER: Final = _CONNECTION.where(connections.c.phone_number == bindparam("number"))
_CONNECTION_BY_DEFAULT: Final = _CONNECTION.where(connections.c.is_default)
_ADD: Final = insert(sessions)
_SAME: Final = (
    idempotency.c.organization_id == bindparam("organization"),
    idempotency.c.route == bindparam("route"),
    idempotency.c.key == bindparam("key"),
)
_RECALL: Final = select(idempotency.c.digest, idempotency.c.status, idempotency.c.headers, idempotency.c.body).where(
    *_SAME, idempotency.c.created_at > bindparam("since")
)
#: As text, for SQLite and PostgreSQL say it alike and SQLAlchemy does not. Only an answer that outlived its day is
#: replaced: one that another node has stored since `recall` must stay.
_REMEMBER: Final = text(
    "INSERT INTO idempotency (organization_id, route, key, digest, status, headers, body, created_at)"
    " VALUES (:organization_id, :route, :key, :digest, :status, :headers, :body, :created_at)"
    " ON CONFLICT (organization_id, route, key) DO UPDATE SET digest = excluded.digest, status = excluded.status,"
    " headers = excluded.headers, body = excluded.body, created_at = excluded.created_at"
    " WHERE idempotency.created_at <= :before"
)


class Principal(NamedTuple):
    """Who asks. organization_id None: the gateway itself, which sees every organization."""

    organization_id: str | None
    scope: str  # system | write | read
    credits_limit: int | None = None
    credits_used: int = 0
    rate_limit: int = 0


SYSTEM: Final = Principal(None, "system")


class Stored(NamedTuple):
    """The first successful answer to an idempotent request."""

    digest: str
    status: int
    headers: dict[str, str]
    body: bytes


def to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def from_json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def token_secret(connection: Connection) -> bytes:
    """The installation's secret for stream tokens; made at first use."""
    query = select(settings.c.value).where(settings.c.name == _TOKEN_SECRET)
    found = connection.execute(query).scalar()
    if found is None:
        found = secrets.token_bytes(32)
        connection.execute(insert(settings).values(name=_TOKEN_SECRET, value=found))
    return bytes(found)


def find_keys(connection: Connection, digests: list[str]) -> dict[str, Row[Any]]:
    """By digest: the keys that there are, with their organizations; for `admit`."""
    return {row.digest: row for row in connection.execute(_KEYS, {"digests": digests})}


def admit(row: Row[Any] | None, now: float) -> Principal:
    """Whose key this is. Raises PeerFault: unknown, revoked, expired, organization inactive."""
    if row is None:
        raise PeerFault(Fault.INVALID_API_KEY, "this API key is not known here")
    if row.revoked_at is not None:
        raise PeerFault(Fault.REVOKED_API_KEY, "this API key has been revoked")
    if row.expires_at is not None and row.expires_at <= now:
        raise PeerFault(Fault.EXPIRED_API_KEY, "this API key has expired")
    if not row.active:
        raise PeerFault(Fault.ORGANIZATION_INACTIVE, "the organization is not active")
    return Principal(row.id, row.scope, row.credits_limit, row.credits_used, row.rate_limit)


def spend_credit(connection: Connection, organization_id: str) -> int:
    """Take one credit; returns how many are used by now.

    Raises PeerFault NO_CREDITS or ORGANIZATION_INACTIVE, and the transaction undoes the rest.
    """
    used: int | None = connection.execute(_SPEND, {"organization": organization_id}).scalar()
    if used is None:
        active = select(organizations.c.active).where(organizations.c.id == organization_id)
        if not connection.execute(active).scalar():
            raise PeerFault(Fault.ORGANIZATION_INACTIVE, "the organization is not active")
        raise PeerFault(Fault.NO_CREDITS, "the organization has no API credits left")
    return used


class Connected(NamedTuple):
    """A telephone connection that a session's routing resolved to."""

    id: str
    provider: str
    phone_number: str | None


def find_connection(
    connection: Connection,
    organization_id: str,
    *,
    connection_id: str | None = None,
    phone_number: str | None = None,
) -> Connected | None:
    """By id, else by number, else the organization's default one."""
    asked = {"organization": organization_id}
    if connection_id is not None:
        found = connection.execute(_CONNECTION_BY_ID, asked | {"connection": connection_id})
    elif phone_number is not None:
        found = connection.execute(_CONNECTION_BY_NUMBER, asked | {"number": phone_number})
    else:
        found = connection.execute(_CONNECTION_BY_DEFAULT, asked)
    row = found.first()
    return Connected(row.id, row.provider, row.phone_number) if row else None


def add_session(connection: Connection, session: Session) -> None:
    values = msgspec.structs.asdict(session)
    connection.execute(_ADD, values | {name: to_json(values[name]) for name in _JSON})


def _session(row: Row[Any]) -> Session:
    values = dict(row._mapping)
    return Session(**values | {name: from_json(values[name]) for name in _JSON})


def find_session(connection: Connection, session_id: str, organization_id: str | None) -> Session:
    """Raises PeerFault SESSION_NOT_FOUND, also for another organization's. organization_id None: anybody's."""
    # What is no text of ours need not be asked for; a NUL could not even be.
    if not session_id.isascii() or not session_id.isprintable():
        raise PeerFault(Fault.SESSION_NOT_FOUND, "this is no id of a session")
    query = select(*_COLUMNS).where(sessions.c.id == session_id)
    if organization_id is not None:
        query = query.where(sessions.c.organization_id == organization_id)
    row = connection.execute(query).first()
    if row is None:
        raise PeerFault(Fault.SESSION_NOT_FOUND, f"there is no session {session_id}")
    return _session(row)


def session_status(connection: Connection, session_id: str) -> str | None:
    return connection.execute(select(sessions.c.status).where(sessions.c.id == session_id)).scalar()


def unfinished(connection: Connection, node: str) -> list[Session]:
    """This node's sessions that have not ended: what a restart finds."""
    query = select(*_COLUMNS).where(sessions.c.node == node, sessions.c.status != "ended")
    return [_session(row) for row in connection.execute(query.order_by(sessions.c.created_at))]


def save_progress(connection: Connection, session_id: str, node: str, values: dict[str, Any]) -> bool:
    """Write columns of this node's session; False when it has ended, or is another node's by now."""
    mine = (sessions.c.id == session_id, sessions.c.node == node, sessions.c.status != "ended")
    return connection.execute(update(sessions).where(*mine).values(**values)).rowcount == 1


def recall(connection: Connection, organization_id: str, route: str, key: str, since: float) -> Stored | None:
    """The stored answer of an idempotent request, if it is younger than `since`."""
    asked = {"organization": organization_id, "route": route, "key": key, "since": since}
    row = connection.execute(_RECALL, asked).first()
    return Stored(row.digest, row.status, from_json(row.headers), row.body.encode()) if row else None


def remember(connection: Connection, organization_id: str, route: str, key: str, stored: Stored, now: float) -> bool:
    """Keep the answer in place of one that outlived its day. False: one is kept already."""
    kept = connection.execute(
        _REMEMBER,
        {
            "organization_id": organization_id,
            "route": route,
            "key": key,
            "digest": stored.digest,
            "status": stored.status,
            "headers": to_json(stored.headers),
            "body": stored.body.decode(),
            "created_at": now,
            "before": now - KEEP_ANSWERS_S,
        },
    )
    return kept.rowcount == 1


def forget_answers(connection: Connection, before: float) -> int:
    """Delete idempotent answers older than `before`; returns how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.created_at <= before)).rowcount
