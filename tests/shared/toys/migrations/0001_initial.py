"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Toy(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=200, unique=True)
        price = peewee.BigIntegerField()
        painted = peewee.BooleanField()
        owner_id = IdField()
        version = peewee.IntegerField()
        created_at = TimestampField()

        class Meta:
            indexes = ((("created_at", "id"), False), (("price", "id"), False))

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

    return [Toy, Fact, FeedPosition, IdempotencyKey]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
