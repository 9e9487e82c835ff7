"""API keys and organizations, directly on the database: what the command line creates, lists and revokes.

A key is shown once, when it is made; stored is its SHA-256 (a key has 190 bits of its own, so a slow hash
would add nothing). Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, insert, select, update

from gateway.sessions.ids import new_id
from gateway.sessions.models import api_keys, organizations

Scope = Literal["read", "write"]

#: The organization of a site that has only one; also of what the gateway itself creates.
DEFAULT_ORGANIZATION: Final = "org_default"
DEFAULT_RATE_LIMIT: Final = 600
_ALPHABET: Final = string.ascii_letters + string.digits


class ApiKey(NamedTuple):
    """A stored key as people see it. Times are Unix seconds."""

    id: str
    organization_id: str
    name: str
    hint: str
    scope: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


_SHOWN: Final = tuple(api_keys.c[name] for name in ApiKey._fields)


def digest(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def ensure_organization(
    connection: Connection,
    now: float,
    organization_id: str = DEFAULT_ORGANIZATION,
    *,
    name: str = "Default",
    credits_limit: int | None = None,
    rate_limit: int = DEFAULT_RATE_LIMIT,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> None:
    """Create the organization unless it exists. credits_limit None: unlimited; rate_limit: per minute."""
    known = connection.execute(select(organizations.c.id).where(organizations.c.id == organization_id)).first()
    if known is None:
        connection.execute(
            insert(organizations).values(
                id=organization_id,
                name=name,
                active=True,
                credits_limit=credits_limit,
                credits_used=0,
                rate_limit=rate_limit,
                webhook_url=webhook_url,
                webhook_secret=webhook_secret,
                created_at=now,
            )
        )


def create(
    connection: Connection,
    now: float,
    *,
    name: str,
    organization_id: str = DEFAULT_ORGANIZATION,
    scope: Scope = "write",
    live: bool = True,
    expires_at: float | None = None,
) -> tuple[str, ApiKey]:
    """Make a key. Returns the key itself, which cannot be had again, and what is stored of it.

    Raises LookupError when there is no such organization (the default one comes into being by itself).
    """
    if organization_id == DEFAULT_ORGANIZATION:
        ensure_organization(connection, now)
    elif not connection.execute(select(organizations.c.id).where(organizations.c.id == organization_id)).first():
        raise LookupError(f"there is no organization {organization_id}")
    prefix = "sk_live_" if live else "sk_test_"
    key = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(32))
    stored = ApiKey(
        id=new_id("key", now),
        organization_id=organization_id,
        name=name,
        hint=key[: len(prefix) + 4],
        scope=scope,
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
    )
    connection.execute(insert(api_keys).values(digest=digest(key), **stored._asdict()))
    return key, stored


def list_keys(connection: Connection, organization_id: str | None = None) -> list[ApiKey]:
    """Every key, oldest first, revoked ones included."""
    query = select(*_SHOWN).order_by(api_keys.c.created_at, api_keys.c.id)
    if organization_id is not None:
        query = query.where(api_keys.c.organization_id == organization_id)
    return [ApiKey(**row._mapping) for row in connection.execute(query)]


def revoke(connection: Connection, key_id: str, now: float) -> bool:
    """Refuse this key from now on. False: no such key, or revoked already."""
    done = connection.execute(
        update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    return done.rowcount == 1
