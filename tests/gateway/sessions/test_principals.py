"""gateway/sessions/principals.py"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from gateway.errors import Fault, PeerFault
from gateway.sessions import keys
from gateway.sessions.database import Database
from gateway.sessions.models import organizations
from gateway.sessions.principals import Principals

NOW = 1_800_000_000.0


@pytest.fixture
def digests(database: Database) -> list[str]:
    made = [database.call(keys.create, NOW, name=name, expires_at=NOW + 10)[0] for name in ("a", "b")]
    return [keys.digest(key) for key in made]


def counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What each query asks for."""
    queries: list[list[str]] = []
    real = database.read

    async def read(job: Any, asked: list[str]) -> Any:
        queries.append(asked)
        return await real(job, asked)

    monkeypatch.setattr(database, "read", read)
    return queries


def test_those_who_wait_share_a_query(database: Database, digests: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    queries = counted(database, monkeypatch)
    first, second = digests

    async def scenario() -> None:
        principals = Principals(database)
        asked = [asyncio.create_task(principals.find(digest, NOW)) for digest in (first, second, first, "unknown")]
        *found, refused = await asyncio.gather(*asked, return_exceptions=True)
        assert [one.scope for one in found if not isinstance(one, BaseException)] == ["write"] * 3
        assert isinstance(refused, PeerFault)
        assert refused.fault is Fault.INVALID_API_KEY

    asyncio.run(scenario())
    assert queries == [[first, second, "unknown"]]


def test_an_answer_is_never_older_than_its_request(
    database: Database, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = counted(database, monkeypatch)

    async def scenario() -> None:
        principals = Principals(database)
        early = asyncio.create_task(principals.find(digests[0], NOW))
        while not queries:  # noqa: ASYNC110  (until its query is on its way)
            await asyncio.sleep(0)
        database.call(lambda c: c.execute(update(organizations).values(credits_used=7)))
        assert (await principals.find(digests[0], NOW)).credits_used == 7
        await early

    asyncio.run(scenario())
    assert len(queries) == 2


def test_who_goes_away_takes_nobody_along(database: Database, digests: list[str]) -> None:
    async def scenario() -> None:
        principals = Principals(database)
        gone, stays = (asyncio.create_task(principals.find(digests[0], NOW)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).scope == "write"
        with pytest.raises(PeerFault) as caught:
            await principals.find(digests[0], NOW + 10)
        assert caught.value.fault is Fault.EXPIRED_API_KEY

    asyncio.run(scenario())


def test_a_database_that_is_away_is_told_to_all_and_asked_again(
    database: Database, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, away = database.read, True

    async def read(*args: Any) -> Any:
        if away:
            raise OperationalError("SELECT 1", {}, Exception("away"))
        return await real(*args)

    monkeypatch.setattr(database, "read", read)

    async def scenario() -> None:
        nonlocal away
        principals = Principals(database)
        asked = [principals.find(digest, NOW) for digest in digests]
        assert all(isinstance(e, OperationalError) for e in await asyncio.gather(*asked, return_exceptions=True))
        away = False
        assert (await principals.find(digests[0], NOW)).scope == "write"

    asyncio.run(scenario())
