"""gateway/sessions/database.py"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text

from gateway.sessions.database import Database
from gateway.sessions.models import settings


def put(connection: Connection, name: str) -> None:
    connection.execute(insert(settings).values(name=name, value=b"x"))


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(settings.c.name).order_by(settings.c.name)).scalars())


def test_a_job_is_one_transaction(database: Database) -> None:
    def half(connection: Connection) -> None:
        put(connection, "half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.call(half)
    database.call(put, "whole")
    assert database.peek(names) == ["whole"]


def test_jobs_run_beside_the_loop(database: Database) -> None:
    def where(_connection: Connection) -> str:
        return threading.current_thread().name

    async def scenario() -> str:
        return await database.run(where)

    assert asyncio.run(scenario()).startswith("database")


def test_upgrade_again_changes_nothing(database: Database) -> None:
    database.call(put, "kept")
    database.upgrade()
    assert database.peek(names) == ["kept"]


def test_upgrade_by_several_at_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    threads = [threading.Thread(target=one.upgrade) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in databases:
        assert one.peek(names) == []
        one.close()


def test_what_is_committed_is_on_the_disk(tmp_path: Path) -> None:
    """SQLite's FULL (2): with NORMAL, in WAL mode, a power loss undoes the last transactions."""
    database = Database(f"sqlite:///{tmp_path}/s.db")
    assert database.call(lambda c: c.execute(text("PRAGMA synchronous")).scalar()) == 2
    database.close()


def test_sqlite_reads_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/in/s.db")
    database.upgrade()
    with database.engine.begin() as writing:
        put(writing, "not yet")
        assert database.peek(names) == []
        assert writing.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    assert database.peek(names) == ["not yet"]
    database.close()
