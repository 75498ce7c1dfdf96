"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField
from shared.database.idempotency import IdempotencyKeyColumns
from shared.database.tables import own_table
from shared.feed.outbox import FeedPositionColumns
from shared.mail.outbox import MailColumns

REPLACES = ("0001_initial", "0002_notifications", "0003_events", "0004_reply_to")


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they are at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

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

    class Person(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=200, null=True)
        avatar = peewee.TextField(null=True)
        deleted = peewee.BooleanField()
        told_at = TimestampField(null=True)

    class Notification(Model):
        id = IdField(primary_key=True)
        user_id = IdField()
        key = peewee.CharField(max_length=64)
        type = peewee.CharField(max_length=8)
        actor_id = IdField(null=True, index=True)
        post_id = IdField(null=True, index=True)
        post_title = peewee.CharField(max_length=200, null=True)
        comment_id = IdField(null=True, index=True)
        role = peewee.CharField(max_length=9, null=True)
        likes = peewee.IntegerField(null=True)
        read = peewee.BooleanField()
        version = peewee.IntegerField()
        created_at = TimestampField()

        class Meta:
            indexes = (
                (("user_id", "key"), True),
                (("user_id", "created_at", "id"), False),
                (("user_id", "read", "likes"), False),
            )

    class Liker(Model):
        post_id = IdField()
        user_id = IdField(index=True)
        likes = peewee.BooleanField()
        liked_at = TimestampField()

        class Meta:
            primary_key = peewee.CompositeKey("post_id", "user_id")
            indexes = ((("post_id", "liked_at"), False),)

    class EventHead(Model):
        last = peewee.BigIntegerField()

    class Event(Model):
        id = peewee.BigIntegerField(primary_key=True)
        topic = peewee.CharField(max_length=32)
        subject = IdField(index=True)
        post_id = IdField(null=True, index=True)
        user_id = IdField(null=True, index=True)
        data = peewee.TextField()
        created_at = TimestampField(index=True)

    class EventTicket(Model):
        digest = peewee.CharField(max_length=64, primary_key=True)
        user_id = IdField()
        session_id = IdField()
        issued_at = peewee.DoubleField()
        token_expires_at = peewee.BigIntegerField()
        expires_at = TimestampField(index=True)

    common = [own_table(columns, db) for columns in (FeedPositionColumns, IdempotencyKeyColumns, MailColumns)]
    return [*common, ContactMessage, Person, Notification, Liker, EventHead, Event, EventTicket]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("INSERT INTO event_head (last) VALUES (0)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
