"""Databases for tests: made once for each service, with its tables, and put back after each test."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg

from shared.database.connection import connect, migrate

# What another connection still holds must fail a test rather than stop it.
LIMITS = "-c lock_timeout=10s -c statement_timeout=60s"

END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def end_connections(url: str) -> None:
    """End what is connected to the database of the address, as a restart of the server would."""
    with psycopg.connect(url, autocommit=True, options=LIMITS) as connection:
        connection.execute(END_OTHERS)


class SqliteTemplates:
    """Files with the tables of the services, to copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[Path, Path] = {}

    def copy(self, migrations: Path, folder: Path) -> str:
        """Put a database on which the migrations were run into a folder and return its address."""
        if migrations not in self._made:
            file = self._made[migrations] = self._folder / str(len(self._made)) / "test.db"
            migrate(connect(f"sqlite:///{file}"), migrations)
        return f"sqlite:///{shutil.copy(self._made[migrations], folder)}"


class PostgresServer:
    """A server, and the databases that this run has made there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin = psycopg.connect(f"{url}/postgres", autocommit=True, connect_timeout=2)
        self._made: dict[Path | None, PostgresDatabase] = {}

    def database(self, migrations: Path | None) -> Iterator[str]:
        """Lend the address of the database on which the migrations were run, or of the empty one, for a test."""
        if migrations not in self._made:
            name = f"postern_test_{os.getpid()}_{secrets.token_hex(4)}"
            self._admin.execute(f"CREATE DATABASE {name}")
            # No test takes the power away.
            self._admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
            self._made[migrations] = PostgresDatabase(f"{self._url}/{name}", migrations)
        yield self._made[migrations].url
        self._made[migrations].reset()

    def close(self) -> None:
        for database in self._made.values():
            self._admin.execute(f"DROP DATABASE {database.url.rpartition('/')[2]} WITH (FORCE)")
        self._admin.close()


class PostgresDatabase:
    """One database; `reset` brings back what was in it when it was made."""

    def __init__(self, url: str, migrations: Path | None) -> None:
        self.url = url
        self._reset = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        if migrations:
            migrate(connect(url), migrations)
            self._reset = _emptying(url)

    def reset(self) -> None:
        with psycopg.connect(self.url, autocommit=True, options=LIMITS) as connection:
            connection.execute(END_OTHERS)
            connection.execute(self._reset)


def _emptying(url: str) -> str:
    """Keep the rows that are there aside, and return the statements that bring them back instead of all others.

    To delete is a hundred times faster than to truncate; within one statement no foreign key forbids it.
    """
    with psycopg.connect(url, autocommit=True, options=LIMITS) as connection:
        tables = [name for (name,) in connection.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE" + PUBLIC)]
        connection.execute("CREATE SCHEMA kept")
        for table in tables:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            connection.execute(f"CREATE TABLE kept.{table} AS TABLE {table}")
        filled = [table for table in tables if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()]
        sequences = connection.execute(
            "SELECT format('%I', sequencename), last_value, start_value FROM pg_sequences WHERE" + PUBLIC
        ).fetchall()
    deleted = ", ".join(f"t{number} AS (DELETE FROM {table})" for number, table in enumerate(tables))
    kept = [f"INSERT INTO {table} TABLE kept.{table}" for table in filled]
    started = [f"SELECT setval('{name}', {last or start}, {bool(last)})" for name, last, start in sequences]
    return "; ".join([f"WITH {deleted} SELECT", *kept, *started])


PUBLIC = " schemaname = 'public'"
