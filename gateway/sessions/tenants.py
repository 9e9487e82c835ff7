"""Organizations and telephone connections as an operator sets them up, directly on the database.

Owns their queries. Keys are `keys.py`'s; what a session's routing resolves to is `store.py`'s to find.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from gateway.sessions.ids import new_id
from gateway.sessions.models import connections, organizations


class Organization(NamedTuple):
    """A stored organization. credits_limit None: unlimited; rate_limit: requests a minute."""

    id: str
    name: str
    active: bool
    credits_limit: int | None
    credits_used: int
    rate_limit: int
    webhook_url: str | None


class Telephone(NamedTuple):
    """A stored connection: what `routing.connection_id` and `routing.phone_number` name."""

    id: str
    organization_id: str
    provider: str
    phone_number: str | None
    is_default: bool


_ORGANIZATION: Final = tuple(organizations.c[name] for name in Organization._fields)
_TELEPHONE: Final = tuple(connections.c[name] for name in Telephone._fields)


def list_organizations(connection: Connection) -> list[Organization]:
    """All of them, oldest first."""
    query = select(*_ORGANIZATION).order_by(organizations.c.created_at, organizations.c.id)
    return [Organization(**row._mapping) for row in connection.execute(query)]


def change_organization(connection: Connection, organization_id: str, values: dict[str, Any]) -> bool:
    """Set columns. False: there is no such organization."""
    mine = organizations.c.id == organization_id
    if not values:
        return connection.execute(select(organizations.c.id).where(mine)).first() is not None
    return connection.execute(update(organizations).where(mine).values(**values)).rowcount == 1


def add_connection(
    connection: Connection,
    now: float,
    organization_id: str,
    provider: str,
    phone_number: str | None = None,
    *,
    is_default: bool = False,
) -> Telephone:
    """Add one; a default one takes the place of the former. Raises LookupError: there is no such organization."""
    if not change_organization(connection, organization_id, {}):
        raise LookupError(f"there is no organization {organization_id}")
    if is_default:
        mine = connections.c.organization_id == organization_id
        connection.execute(update(connections).where(mine).values(is_default=False))
    made = Telephone(new_id("pcon", now), organization_id, provider, phone_number, is_default)
    connection.execute(insert(connections).values(**made._asdict()))
    return made


def list_connections(connection: Connection) -> list[Telephone]:
    """All of them, by organization."""
    query = select(*_TELEPHONE).order_by(connections.c.organization_id, connections.c.id)
    return [Telephone(**row._mapping) for row in connection.execute(query)]


def remove_connection(connection: Connection, connection_id: str) -> bool:
    """False: there is none of this id. Sessions that it served stay as they are."""
    return connection.execute(delete(connections).where(connections.c.id == connection_id)).rowcount == 1
