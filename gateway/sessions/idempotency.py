"""Idempotent requests (contract §1): the same key and body get the first successful answer again.

Owns the key's syntax, the digest of a body and the set of requests that are still running in this process.
Stored answers are `store.py`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec

from gateway.errors import Fault, PeerFault
from gateway.sessions.store import Stored

KEY_PATTERN: Final = "^[!-~]{1,255}$"
_KEY: Final = re.compile(KEY_PATTERN.removesuffix("$"))


class Ticket(NamedTuple):
    """One idempotent request. route: method and path; digest: of the body."""

    organization_id: str
    route: str
    key: str
    digest: str


def ticket(organization_id: str, route: str, key: str, body: bytes) -> Ticket:
    """body: valid JSON or nothing; white space and the order of names do not count. Raises PeerFault."""
    if not _KEY.fullmatch(key):
        raise PeerFault(
            Fault.INVALID_FIELD,
            "Idempotency-Key must have 1–255 printable ASCII characters, no space",
            param="Idempotency-Key",
        )
    canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted") if body else b""
    return Ticket(organization_id, route, key, hashlib.sha256(canonical).hexdigest())


def check(asked: Ticket, stored: Stored) -> None:
    """Raise PeerFault when the key was used with another body."""
    if stored.digest != asked.digest:
        raise PeerFault(
            Fault.IDEMPOTENCY_MISMATCH,
            "this Idempotency-Key was used with another request body",
            param="Idempotency-Key",
        )


class Running:
    """The requests that are being worked on."""

    def __init__(self) -> None:
        self._now: set[tuple[str, str, str]] = set()

    @contextmanager
    def one(self, asked: Ticket | None) -> Iterator[None]:
        """Hold the key while working. Raises PeerFault IDEMPOTENCY_CONFLICT when it is held."""
        if asked is None:
            yield
            return
        key = asked[:3]
        if key in self._now:
            raise conflict()
        self._now.add(key)
        try:
            yield
        finally:
            self._now.discard(key)


def conflict() -> PeerFault:
    return PeerFault(
        Fault.IDEMPOTENCY_CONFLICT,
        "the first request with this Idempotency-Key is still running",
        retry_after_s=1,
    )
