"""gateway/sessions/models.py: the migrations make exactly these tables."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from gateway.sessions import database as module
from gateway.sessions.database import Database
from gateway.sessions.models import metadata


def test_migrations_and_models_agree(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert database.call(differences) == []


def test_down_to_nothing_and_up_again(database: Database) -> None:
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "base")
    assert database.call(lambda c: inspect(c).get_table_names()) == ["alembic_version"]
    database.upgrade()
    assert set(database.call(lambda c: inspect(c).get_table_names())) == {*metadata.tables, "alembic_version"}
