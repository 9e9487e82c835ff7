"""Storage for the service's tests: every test that takes `database_url` runs on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sessions.database import Database
from tests.support import postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    with postgresql.server() as running:
        yield running


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """For tests that do not depend on the store."""
    return f"sqlite:///{tmp_path}/sessions.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    return server.new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with its tables."""
    opened = Database(database_url)
    opened.upgrade()
    yield opened
    opened.close()
