"""Widen the ids of tags on PostgreSQL, where each write of a tag takes one, whether the tag is new or not."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    _set_type(db, "bigint")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    _set_type(db, "integer")


def _set_type(db: peewee.Database, kind: str) -> None:
    if is_postgres(db):  # SQLite has one kind of integer only
        db.execute_sql(f"ALTER SEQUENCE tag_id_seq AS {kind}")
        db.execute_sql(f"ALTER TABLE tag ALTER COLUMN id TYPE {kind}")
        db.execute_sql(f"ALTER TABLE post_tag ALTER COLUMN tag_id TYPE {kind}")
