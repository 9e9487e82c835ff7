"""gateway/sessions/journal.py"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.errors import Fault, PeerFault
from gateway.sessions import journal as module
from gateway.sessions.database import Database
from gateway.sessions.journal import Journal
from gateway.sessions.models import settings


def put(connection: Connection, name: str) -> None:
    connection.execute(insert(settings).values(name=name, value=b"x"))


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(settings.c.name).order_by(settings.c.name)).scalars())


async def finish(journal: Journal) -> None:
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    journal.close()
    await running


def test_writes_are_carried_out_in_order(database: Database) -> None:
    seen: list[int] = []

    def note(_connection: Connection, number: int) -> None:
        seen.append(number)

    async def scenario() -> None:
        journal = Journal(database)
        running = asyncio.create_task(journal.run())
        for number in range(500):
            journal.write(note, number)
        journal.close()
        await running

    asyncio.run(scenario())
    assert seen == list(range(500))


def test_one_bad_job_does_not_undo_its_neighbours(database: Database) -> None:
    async def scenario() -> None:
        journal = Journal(database)
        results = [journal.write(put, name) for name in ("a", "a", "b")]
        await finish(journal)
        await results[0]
        await results[2]
        with pytest.raises(IntegrityError):
            await results[1]
        assert journal.failed == 1

    asyncio.run(scenario())
    assert database.peek(names) == ["a", "b"]


def test_a_database_that_is_away_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S", (0.0,))
    tries = 0
    real = database.run

    async def flaky(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OperationalError("SELECT 1", {}, Exception("away"))
        return await real(*args)

    monkeypatch.setattr(database, "run", flaky)

    async def scenario() -> None:
        journal = Journal(database)
        written = journal.write(put, "late")
        await finish(journal)
        await written

    asyncio.run(scenario())
    assert database.peek(names) == ["late"]


def test_beyond_the_bound_a_write_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOUND", 2)

    async def scenario() -> int:
        journal = Journal(database)
        for name in "abc":
            journal.write(put, name)
        await finish(journal)
        return journal.refused

    assert asyncio.run(scenario()) == 1
    assert database.peek(names) == ["a", "b"]


def test_what_a_job_returns_and_what_it_refuses(database: Database) -> None:
    def refuse(_connection: Connection) -> None:
        raise PeerFault(Fault.NO_CREDITS, "none left")

    async def scenario() -> None:
        journal = Journal(database)
        listed, refused = journal.write(names), journal.write(refuse)
        await finish(journal)
        assert await listed == []
        with pytest.raises(PeerFault, match="none left"):
            await refused
        assert journal.failed == 0  # a refusal is no failure

    asyncio.run(scenario())
