"""Take over a database from before the first release, when a service had several migrations.

One migration stands for them now and names them in `REPLACES`. Where all of those were applied, and the schema is the
one that it makes, the history is rewritten. Any other schema of that time stops the start.
"""

import re
from typing import Any

import peewee
from playhouse.migrations import Runner

from shared.database.fields import FIELD_TYPES_SQLITE
from shared.start_error import StartError

ADVICE = "bring it up to date with the version before this one, or delete it"
_POSTGRES = """
    WITH own AS (SELECT *, relname::text AS name FROM pg_class WHERE relnamespace = {schema})
    SELECT 'column', name, attname::text, format_type(atttypid, atttypmod), attnotnull::text, attcollation::text,
        pg_get_expr(adbin, adrelid), attstorage::text, reloptions::text
    FROM own JOIN pg_attribute ON attrelid = own.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind = 'r'
    UNION ALL SELECT 'constraint', name, pg_get_constraintdef(pg_constraint.oid), '', '', '', '', '', ''
    FROM own JOIN pg_constraint ON conrelid = own.oid WHERE contype <> 'n'
    UNION ALL SELECT 'index', name, pg_get_indexdef(oid), '', '', '', '', '', '' FROM own WHERE relkind = 'i'
    UNION ALL SELECT 'sequence', name, seqtypid::regtype::text, '', '', '', '', '', ''
    FROM own JOIN pg_sequence ON seqrelid = own.oid"""
_SQLITE = """
    WITH own AS (SELECT * FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual'))
    SELECT 'column', own.name, x.name, upper(x.type), x."notnull", x.dflt_value, x.pk, own.type, own.wr
    FROM own, pragma_table_xinfo(own.name) AS x
    UNION ALL SELECT 'reference', own.name, x."from", x."table", x."to", x.on_delete, '', '', ''
    FROM own, pragma_foreign_key_list(own.name) AS x
    UNION ALL SELECT 'index', own.name, x."unique", x.origin, s.sql, group_concat(c.name), '', '', ''
    FROM own, pragma_index_list(own.name) AS x, pragma_index_xinfo(x.name) AS c
        LEFT JOIN sqlite_master AS s ON s.name = x.name GROUP BY own.name, x.name
    UNION ALL SELECT 'virtual', name, sql, '', '', '', '', '', '' FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"""
_written_in_two_ways = re.compile(r'pg_temp_\d+\.|\w+\.(?="?\w+"? USING)|IF NOT EXISTS|["`\s()]')


def take_over(database: peewee.Database, runner: Runner) -> None:
    """Make the history name the one migration instead of those that it replaces; raise StartError."""
    applied, first = set(runner.applied()), runner.migrations()[0]
    replaced = set(getattr(first.load(), "REPLACES", ())) if applied and first.name not in applied else set()
    if not replaced:
        return
    if applied != replaced:
        raise StartError(
            f"The database {database.database} has the old migrations up to {max(applied)}, not all: {ADVICE}."
        )
    if differing := _schema(database) ^ _made_by(first.load(), database):
        kind, table, *_ = min(differing)
        raise StartError(
            f"The schema of {database.database} is not what this version makes ({kind} of {table}): {ADVICE}."
        )
    with database.atomic():
        runner.History.delete().execute()
        runner.History.create(name=first.name)


def _made_by(migration: Any, database: peewee.Database) -> set[tuple[str, ...]]:
    """Return the schema that a migration makes: in a database in memory, or among PostgreSQL's temporary tables."""
    if isinstance(database, peewee.SqliteDatabase):
        memory = peewee.SqliteDatabase(":memory:", field_types=FIELD_TYPES_SQLITE)
        with memory.connection_context():
            migration.up(None, memory)
            return _schema(memory)
    with database.atomic() as transaction:
        database.execute_sql("SET LOCAL search_path TO pg_temp")
        migration.up(None, database)
        made = _schema(database, "pg_my_temp_schema()")
        transaction.rollback()
    return made


def _schema(database: peewee.Database, schema: str = "current_schema()::regnamespace") -> set[tuple[str, ...]]:
    """Return what is comparable of tables and indexes, whatever the order of columns."""
    query = _SQLITE if isinstance(database, peewee.SqliteDatabase) else _POSTGRES.format(schema=schema)
    others = ("schema_migration", "sqlite_")
    rows = [row for row in database.execute_sql(query).fetchall() if not row[1].startswith(others)]
    return {tuple(_written_in_two_ways.sub("", str(value)) for value in row) for row in rows}
