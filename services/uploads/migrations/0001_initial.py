"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Fact(Model):
        id = peewee.BigAutoField()
        transaction = peewee.BigIntegerField()
        type = peewee.CharField(max_length=64)
        subject = peewee.CharField(max_length=64)
        data = peewee.TextField()
        created_at = TimestampField(index=True)

        class Meta:
            indexes = ((("transaction", "id"), False),)

    class FeedPosition(Model):
        source = peewee.CharField(max_length=64, primary_key=True)
        event_id = peewee.CharField(max_length=64)

    class IdempotencyKey(Model):
        user_id = IdField()
        key = peewee.CharField(max_length=255)
        fingerprint = peewee.CharField(max_length=64)
        status = peewee.SmallIntegerField()
        headers = peewee.TextField()
        body = peewee.BlobField()
        created_at = TimestampField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("user_id", "key")

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

    return [Fact, FeedPosition, IdempotencyKey, Upload]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
