"""Connect a service to its database, SQLite or PostgreSQL, and migrate it."""

import fcntl
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import peewee
from flask import Flask
from playhouse.migrations import Runner

from shared.database import disk_reserve, errors
from shared.database.fields import FIELD_TYPES_POSTGRES, FIELD_TYPES_SQLITE
from shared.database.takeover import take_over
from shared.problems import Problem

BUSY_TIMEOUT = 5000  # milliseconds that a SQLite writer waits for another
QUERY_TIMEOUT = 10_000  # milliseconds of one PostgreSQL statement
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 1,
    "busy_timeout": BUSY_TIMEOUT,
    "temp_store": "memory",
    "cache_size": -16_000,
    "mmap_size": 256 * 1024 * 1024,
}
_MIGRATING = 0x706F7374  # key of the advisory lock, which is per database in PostgreSQL
Database = peewee.DatabaseProxy
Row = TypeVar("Row", bound=peewee.Model)


def connect(url: str) -> peewee.Database:
    """Return the database of a `sqlite:///path` or `postgresql://…` address; connections open when needed.

    Each thread keeps its own connection. Every transaction of SQLite begins IMMEDIATE, so that none fails
    half-way because another writer was faster.
    """
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return peewee.SqliteDatabase(str(path), pragmas=PRAGMAS, lock_type="IMMEDIATE", field_types=FIELD_TYPES_SQLITE)
    return peewee.PostgresqlDatabase(
        url,
        prefer_psycopg3=True,
        field_types=FIELD_TYPES_POSTGRES,
        connect_timeout=5,
        # JIT compilation takes longer than any query here may.
        options=f"-c timezone=UTC -c jit=off -c statement_timeout={QUERY_TIMEOUT} -c lock_timeout={BUSY_TIMEOUT}",
    )


def is_postgres(database: Any) -> bool:
    """Return whether a database, or the one behind a proxy, is PostgreSQL."""
    return isinstance(getattr(database, "obj", database), peewee.PostgresqlDatabase)


def execute(database: Any, sql: str, values: Sequence[Any] = ()) -> Any:
    """Run constant SQL with `?` for each value, on either database, and return the cursor.

    It is for statements of most requests: building one with peewee takes longer than running it.
    """
    return database.execute_sql(sql.replace("?", "%s") if is_postgres(database) else sql, values)


def init_app(app: Flask, proxy: Database, url: str, migrations: Path) -> None:
    """Bind the service's models to its database and migrate it; leave no connection open for a fork."""
    database = connect(url)
    proxy.initialize(database)
    migrate(database, migrations)
    errors.init_app(app)
    app.teardown_appcontext(lambda _error: drop_broken(database))
    if is_postgres(database):
        app.before_request(lambda: _drop_hung_up(database))
    elif not app.config["TESTING"]:
        disk_reserve.init_app(app, Path(database.database).parent)


def drop_broken(database: Any) -> None:
    """Close this thread's connection if it was lost or left inside a transaction: the next use opens a new one."""
    left_open = database.in_transaction()
    while database.in_transaction():
        database.pop_transaction()
    if not database.is_closed() and (left_open or getattr(database.connection(), "broken", False)):
        database.close()


def _drop_hung_up(database: peewee.Database) -> None:
    """Close an idle connection that the server has closed, before a request fails on it."""
    if database.is_closed():
        return
    poll = select.poll()
    poll.register(database.connection(), select.POLLIN)
    if poll.poll(0):
        database.close()


def migrate(database: peewee.Database, migrations: Path) -> list[str]:
    """Apply the missing migrations under a lock; return their names. Raises StartError."""
    with _migration_lock(database):
        runner = Runner(database, str(migrations))
        take_over(database, runner)
        return list(runner.up())


@contextmanager
def _migration_lock(database: peewee.Database) -> Iterator[None]:
    if is_postgres(database):
        with database.connection_context():
            database.execute_sql("SET statement_timeout = 0; SET lock_timeout = 0")
            database.execute_sql("SELECT pg_advisory_lock(%s)", (_MIGRATING,))
            # A statement that waits for a table lock blocks all later ones on the table.
            database.execute_sql(f"SET lock_timeout = {BUSY_TIMEOUT}")
            yield
    else:
        with Path(f"{database.database}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with database.connection_context():  # the first makes the file a WAL, for which others do not wait
                yield


def get_or_404(query: "type[Row] | peewee.ModelSelect[Row]", *conditions: Any) -> Row:
    """Return the one row, or raise NOT_FOUND."""
    select = query if isinstance(query, peewee.ModelSelect) else query.select()
    row: Row | None = select.where(*conditions).first()
    if row is None:
        raise Problem("NOT_FOUND")
    return row
