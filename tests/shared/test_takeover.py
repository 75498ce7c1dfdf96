"""Databases from before the first release, as the last commit with several migrations left them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from shared.database.connection import connect, is_postgres, migrate
from shared.start_error import StartError

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "posts", "uploads", "messages")
Before = Callable[[str], peewee.Database]


@pytest.fixture
def before(empty_database_url: str) -> Iterator[Before]:
    """Return a database as the old migrations made it, with some rows."""
    database = connect(empty_database_url)

    def fill(service: str) -> peewee.Database:
        engine = "postgres" if is_postgres(database) else "sqlite"
        sql = (Path(__file__).parent / "takeover" / f"{service}.{engine}.sql").read_text()
        if is_postgres(database):
            with psycopg.connect(empty_database_url, autocommit=True) as connection:
                connection.execute(sql)
        else:
            with database.connection_context():
                database.connection().executescript(sql)
        return database

    yield fill
    database.close()


def migrations(service: str) -> Path:
    return ROOT / "services" / service / "migrations"


def rows(database: peewee.Database) -> dict[str, list[Any]]:
    """Return all rows of all tables but the history."""
    with database.connection_context():
        tables = [f'"{name}"' for name in database.get_tables() if not name.startswith(("schema_migration", "sqlite_"))]
        return {table: sorted(map(str, database.execute_sql(f"SELECT * FROM {table}").fetchall())) for table in tables}


@pytest.mark.parametrize("service", SERVICES)
def test_a_complete_database_is_taken_over_with_its_rows(before: Before, service: str) -> None:
    database = before(service)
    known = rows(database)
    assert sum(map(len, known.values())) > 1
    assert migrate(database, migrations(service)) == []
    assert rows(database) == known
    with database.connection_context():
        assert database.execute_sql("SELECT name FROM schema_migration").fetchall() == [("0001_schema",)]
    assert migrate(database, migrations(service)) == []


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "change, sentence",
    [
        ("DELETE FROM schema_migration WHERE name > '0004'", "has the old migrations up to .*, not all: bring it"),
        ("ALTER TABLE idempotency_key ADD COLUMN more INTEGER", r"\(column of idempotency_key\): bring it up to date"),
        ("DROP INDEX idempotency_key_created_at", "(index of idempotency_key|idempotency_key_created_at)"),
    ],
)
def test_anything_else_stops_the_start(before: Before, service: str, change: str, sentence: str) -> None:
    database = before(service)
    with database.connection_context():
        database.execute_sql(change)
        history = database.execute_sql("SELECT * FROM schema_migration").fetchall()
    with pytest.raises(StartError, match=sentence):
        migrate(database, migrations(service))
    with database.connection_context():
        assert database.execute_sql("SELECT * FROM schema_migration").fetchall() == history
