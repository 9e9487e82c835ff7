"""Whose API key it is: asked of the database once for all the requests that are waiting to know.

Owns the gathering. Nothing is remembered: an answer is never older than the request that it is for, so a key
that was revoked is refused at once. What is wrong with a key is `store.py`'s to say.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy.engine import Row

from gateway.sessions import store
from gateway.sessions.database import Database
from gateway.sessions.store import Principal


class Principals:
    """Looks keys up, all that wait in one query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Future[Row[Any] | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, digest: str, now: float) -> Principal:
        """The principal of the key with this digest. Raises PeerFault, and what the database raises."""
        waiting = self._waiting.get(digest)
        if waiting is None:
            waiting = self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return store.admit(await asyncio.shield(waiting), now)  # others may wait for the same answer

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    found = await self._database.read(store.find_keys, list(asked))
                except Exception as error:  # whoever asked hears of it
                    for waiting in asked.values():
                        waiting.set_exception(error)
                        waiting.exception()
                else:
                    for digest, waiting in asked.items():
                        waiting.set_result(found.get(digest))
        finally:
            self._asking = None
