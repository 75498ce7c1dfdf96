"""Tables of the messages service and the named queries on them."""

from typing import Any, TypeAlias

import peewee

from shared import clock
from shared.db import Database, TimestampField, id_field
from shared.emails import MAX_EMAIL
from shared.feed import PositionColumns
from shared.idempotency import Idempotency, IdempotencyKeyColumns
from shared.mail import MailColumns, Outbox
from shared.pagination import Order

NEW, READ, ARCHIVED = "new", "read", "archived"  # what a contact message is
STATUSES = (NEW, READ, ARCHIVED)

database = Database()
Query: TypeAlias = "peewee.ModelSelect[Any]"


class Model(peewee.Model):
    """A table of this service."""

    class Meta:
        database = database
        legacy_table_names = False


class FeedPosition(PositionColumns):
    """How far the feeds of auth and posts have been read."""

    class Meta:
        database = database
        table_name = "feed_position"


class IdempotencyKey(IdempotencyKeyColumns):
    """Used keys and their answers."""

    class Meta:
        database = database
        table_name = "idempotency_key"
        primary_key = peewee.CompositeKey("user_id", "key")


class Mail(MailColumns):
    """Mails to be sent, and for a week those that were."""

    class Meta:
        database = database
        table_name = "mail"


idempotency = Idempotency(IdempotencyKey, database)
outbox = Outbox(Mail, database)


class ContactMessage(Model):
    """What somebody wrote to the owner; `source` and `user_agent` are what the sender's page and browser say."""

    id = id_field()
    name = peewee.CharField(max_length=100)
    email = peewee.CharField(max_length=MAX_EMAIL)
    subject = peewee.CharField(max_length=150)
    message = peewee.TextField()
    source = peewee.CharField(max_length=100, null=True)
    user_agent = peewee.CharField(max_length=200)
    status = peewee.CharField(max_length=8, default=NEW)
    version = peewee.IntegerField(default=1)
    created_at = TimestampField(default=clock.now)

    class Meta:
        indexes = ((("created_at", "id"), False), (("status", "created_at", "id"), False))

    @classmethod
    def with_status(cls, status: str | None) -> Query:
        """Select the messages of a status, or all; sort by NEWEST_MESSAGE."""
        return cls.select().where(cls.status == status) if status else cls.select()


NEWEST_MESSAGE = Order("newest", (ContactMessage.created_at, ContactMessage.id))
