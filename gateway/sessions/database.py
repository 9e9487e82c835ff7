"""The database behind the service: engine, worker threads, transactions, migrations.

Owns how a piece of blocking SQL runs beside the event loop: every job is a function that takes a
connection and runs in one transaction on a worker thread. SQLite has one such thread, for it has one
writer anyway, and so jobs follow each other in the order in which they were given; and one for jobs that
only read, which wait for no writer. Knows no table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

P = ParamSpec("P")
T = TypeVar("T")

#: Connections of one process to PostgreSQL.
_POOL: Final = 4
#: Any number, the same in every node: who holds this advisory lock migrates.
_MIGRATION_LOCK: Final = 0x676C6F74


class Database:
    """One engine and its worker threads. Blocking methods are for the command line and for start-up."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(parsed, connect_args={"timeout": 10, "check_same_thread": False})
            _prepare_sqlite(self.engine)
        else:
            if parsed.drivername in {"postgresql", "postgres"}:
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.engine = create_engine(parsed, pool_size=_POOL + 2)
        # Without a BEGIN before each query, and a COMMIT behind it. SQLite's driver is in that mode always.
        reading = {"read_only": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self.engine.execution_options(**reading)
        threads = 1 if self.is_sqlite else _POOL
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="reader") if self.is_sqlite else self._workers

    def call(self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job(connection, …)` in one transaction, here and now."""
        with self.engine.begin() as connection:
            return job(connection, *args, **kwargs)

    def peek(self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that only reads, here and now; each of its queries sees what is committed by then."""
        with self._reading.connect() as connection:
            return job(connection, *args, **kwargs)

    async def run(self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job(connection, …)` in one transaction on a worker thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, partial(self.call, job, *args, **kwargs))

    async def read(self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that only reads on a worker thread, as `peek` does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(self.peek, job, *args, **kwargs))

    def upgrade(self) -> None:
        """Bring the tables to the newest revision. Safe when several nodes start at once."""
        alembic = AlembicConfig()
        alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.engine.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            alembic.attributes["connection"] = connection
            command.upgrade(alembic, "head")

    def close(self) -> None:
        self._readers.shutdown(wait=True)
        self._workers.shutdown(wait=True)
        self.engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """WAL, so that readers never wait; FULL, so that not even a power loss undoes what was answered."""

    @event.listens_for(engine, "connect")
    def connected(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves: the driver would not before a SELECT
        cursor = raw.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("read_only"):
            return
        # IMMEDIATE: a transaction that reads and then writes must not fail half-way because another
        # process (the command line) wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
