"""Keep the log of events that live streams read, and the tickets to them."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

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

    return [EventHead, Event, EventTicket]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("INSERT INTO event_head (last) VALUES (0)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
