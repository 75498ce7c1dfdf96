"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField
from shared.database.idempotency import IdempotencyKeyColumns
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, FeedPositionColumns

REPLACES = ("0001_initial", "0002_usage", "0003_resumable", "0004_gone")


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they are at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Upload(Model):
        id = IdField(primary_key=True)
        user_id = IdField()
        name = peewee.CharField(max_length=512)
        key = peewee.CharField(max_length=80, unique=True)
        filename = peewee.CharField(max_length=255)
        mime_type = peewee.CharField(max_length=64)
        size = peewee.BigIntegerField()
        sha256 = peewee.CharField(max_length=64)
        width = peewee.IntegerField(null=True)
        height = peewee.IntegerField(null=True)
        private = peewee.BooleanField()
        version = peewee.IntegerField()
        created_at = TimestampField()
        modified_at = TimestampField()

        class Meta:
            indexes = ((("user_id", "name"), True), (("user_id", "created_at", "id"), False))

    class Usage(Model):
        user_id = IdField(primary_key=True)
        bytes = peewee.BigIntegerField()
        gone_at = TimestampField(null=True)

    class Resumable(Model):
        id = IdField(primary_key=True)
        user_id = IdField(index=True)
        length = peewee.BigIntegerField()
        metadata = peewee.TextField()
        done = peewee.BooleanField()
        expires_at = TimestampField(index=True)

    common = [own_table(columns, db) for columns in (FactColumns, FeedPositionColumns, IdempotencyKeyColumns)]
    return [*common, Upload, Usage, Resumable]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
