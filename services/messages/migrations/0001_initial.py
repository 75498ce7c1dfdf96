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

    class Mail(Model):
        id = IdField(primary_key=True)
        kind = peewee.CharField(max_length=32)
        recipient = peewee.CharField(max_length=254)
        subject = peewee.CharField(max_length=200)
        body = peewee.TextField()
        created_at = TimestampField()
        expires_at = TimestampField()
        attempts = peewee.SmallIntegerField()
        next_attempt_at = TimestampField(null=True, index=True)
        sent_at = TimestampField(null=True)
        error = peewee.CharField(max_length=200, null=True)

    class ContactMessage(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=100)
        email = peewee.CharField(max_length=254)
        subject = peewee.CharField(max_length=150)
        message = peewee.TextField()
        source = peewee.CharField(max_length=100, null=True)
        user_agent = peewee.CharField(max_length=200)
        status = peewee.CharField(max_length=8)
        version = peewee.IntegerField()
        created_at = TimestampField()

        class Meta:
            indexes = ((("created_at", "id"), False), (("status", "created_at", "id"), False))

    return [FeedPosition, IdempotencyKey, Mail, ContactMessage]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
