"""Keep uploads that are sent in several requests."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Resumable(peewee.Model):
        id = IdField(primary_key=True)
        user_id = IdField(index=True)
        length = peewee.BigIntegerField()
        metadata = peewee.TextField()
        done = peewee.BooleanField()
        expires_at = TimestampField(index=True)

        class Meta:
            database = db
            legacy_table_names = False

    return [Resumable]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
