"""Tables of the messages service and the named queries on them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeAlias

import peewee

from shared import clock
from shared.database.connection import Database, execute
from shared.database.fields import IdField, TimestampField, id_field
from shared.database.idempotency import Idempotency, IdempotencyKeyColumns
from shared.database.pagination import Order
from shared.database.tables import own_table
from shared.feed.outbox import FeedPositionColumns
from shared.mail.addresses import MAX_EMAIL
from shared.mail.outbox import MailColumns, Outbox

NEW, READ, ARCHIVED = "new", "read", "archived"  # of a contact message
STATUSES = (NEW, READ, ARCHIVED)
WELCOME, COMMENT, REPLY, LIKE, ROLE = "welcome", "comment", "reply", "like", "role"  # types of notifications

database = Database()
Query: TypeAlias = "peewee.ModelSelect[Any]"


class Model(peewee.Model):
    """A table of this service."""

    class Meta:
        database = database
        legacy_table_names = False


FeedPosition = own_table(FeedPositionColumns, database)
IdempotencyKey = own_table(IdempotencyKeyColumns, database)
Mail = own_table(MailColumns, database)
idempotency = Idempotency(IdempotencyKey, database)
outbox = Outbox(Mail, database)


class ContactMessage(Model):
    """A message to the owner; `source` names the page of the form, `user_agent` is the sender's header."""

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
        """Select the messages of a status, or all; order them by NEWEST_MESSAGE."""
        return cls.select().where(cls.status == status) if status else cls.select()


NEWEST_MESSAGE = Order("newest", (ContactMessage.created_at, ContactMessage.id))


class Person(Model):
    """A user as an actor of notifications; `told_at` is the time of auth's newest fact, NULL before the first one.

    A deleted user stays as a row, so that facts of posts that are read later create no notification for or about them.
    """

    id = IdField(primary_key=True)
    name = peewee.CharField(max_length=200, null=True)
    avatar = peewee.TextField(null=True)
    deleted = peewee.BooleanField(default=False)
    told_at = TimestampField(null=True)

    @classmethod
    def add_if_missing(cls, user_id: str, name: str | None) -> None:
        """Insert a user whom auth's feed has not reported yet; leave an existing row as it is."""
        cls.insert(id=user_id, name=name).on_conflict_ignore().execute()

    @classmethod
    def upsert(cls, user_id: str, name: str, avatar: str | None, moment: datetime) -> None:
        """Insert or update a user with auth's data of that moment, unless the row is newer or deleted."""
        known = {"name": name, "avatar": avatar, "told_at": moment}
        is_news = cls.told_at.is_null() | (cls.told_at <= moment)
        cls.insert(id=user_id, **known).on_conflict(
            conflict_target=[cls.id], update=known, where=is_news & ~cls.deleted
        ).execute()

    @classmethod
    def existing_ids(cls, after: str, last: str) -> set[str]:
        """Return the ids in `after` < id <= `last` of users that are not deleted."""
        rows: Any = cls.select(cls.id).where(cls.id > after, cls.id <= last, ~cls.deleted).tuples()
        return {user_id for (user_id,) in rows}

    @classmethod
    def mark_deleted(cls, user_id: str) -> None:
        nothing = {"name": None, "avatar": None, "deleted": True}
        cls.insert(id=user_id, **nothing).on_conflict(conflict_target=[cls.id], update=nothing).execute()

    @classmethod
    def any_deleted(cls, *user_ids: str) -> bool:
        """Return whether one of the users is deleted."""
        return bool(cls.select().where(cls.id.in_(user_ids), cls.deleted).exists())


class Notification(Model):
    """A notification; `key` names its cause and is unique for each user, so that a repeated fact creates no second one.

    All likes of a post are one notification. `likes` is their number; with 0 it is not listed.
    """

    id = id_field()
    user_id = IdField()
    key = peewee.CharField(max_length=64)
    type = peewee.CharField(max_length=8)
    actor_id = IdField(null=True, index=True)
    post_id = IdField(null=True, index=True)
    post_title = peewee.CharField(max_length=200, null=True)
    comment_id = IdField(null=True, index=True)
    role = peewee.CharField(max_length=9, null=True)
    likes = peewee.IntegerField(null=True)
    read = peewee.BooleanField(default=False)
    version = peewee.IntegerField(default=1)
    created_at = TimestampField()

    class Meta:
        indexes = (
            (("user_id", "key"), True),
            (("user_id", "created_at", "id"), False),
            (("user_id", "read", "likes"), False),
        )

    @classmethod
    def of(cls, user_id: str) -> Query:
        """Select a user's notifications with name and avatar of the actor; order them by NEWEST_NOTIFICATION."""
        actor = (Person.name.alias("actor_name"), Person.avatar.alias("actor_avatar"))
        return (
            cls.select(cls, *actor)
            .join(Person, peewee.JOIN.LEFT_OUTER, on=(Person.id == cls.actor_id))
            .where(cls.user_id == user_id, cls.likes.is_null() | (cls.likes > 0))
            .namedtuples()
        )

    @classmethod
    def count(cls, user_id: str) -> tuple[int, int]:
        """Return the number of a user's notifications, and that of the unread ones."""
        total, unread = execute(
            database,
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE NOT read) FROM notification"
            " WHERE user_id = ? AND (likes IS NULL OR likes > 0)",
            (user_id,),
        ).fetchone()
        return total, unread


class Liker(Model):
    """A user's like of a post. A like that was taken back stays, since liking again does not notify again."""

    post_id = IdField()
    user_id = IdField(index=True)
    likes = peewee.BooleanField(default=True)
    liked_at = TimestampField()

    class Meta:
        primary_key = peewee.CompositeKey("post_id", "user_id")
        indexes = ((("post_id", "liked_at"), False),)

    @classmethod
    def add(cls, post_id: str, user_id: str, moment: datetime) -> tuple[bool, bool]:
        """Add a like; return whether it is the user's first of the post, and whether it changed anything."""
        row = cls.insert(post_id=post_id, user_id=user_id, liked_at=moment).on_conflict_ignore()
        first = bool(row.as_rowcount().execute())
        return first, first or cls._set(post_id, user_id, likes=True)

    @classmethod
    def remove(cls, post_id: str, user_id: str) -> bool:
        """Remove a like; return whether there was one."""
        return cls._set(post_id, user_id, likes=False)

    @classmethod
    def _set(cls, post_id: str, user_id: str, *, likes: bool) -> bool:
        row = (cls.post_id == post_id) & (cls.user_id == user_id) & (cls.likes != likes)
        return bool(cls.update(likes=likes).where(row).execute())


NEWEST_NOTIFICATION = Order("newest", (Notification.created_at, Notification.id))


class EventHead(Model):
    """One row with the id of the newest event; `append` locks it until the commit.

    So events become visible in the order of their ids, without gaps, on PostgreSQL too. Example: transaction A appends
    event 8. Transaction B waits for the lock, and appends 9 after A's commit. A reader that has 9 has 8.
    """

    last = peewee.BigIntegerField()

    @classmethod
    def next(cls) -> int:
        """Return the id of the next event; other transactions wait until this one ends."""
        (row,) = cls.update(last=cls.last + 1).returning(cls.last).execute()
        return int(row.last)


class Event(Model):
    """A live event, public or for `user_id` only; `subject` is the id of its post, comment or notification."""

    id = peewee.BigIntegerField(primary_key=True)
    topic = peewee.CharField(max_length=32)
    subject = IdField(index=True)
    post_id = IdField(null=True, index=True)
    user_id = IdField(null=True, index=True)
    data = peewee.TextField()
    created_at = TimestampField(default=clock.now, index=True)

    @classmethod
    def between(cls, after: int, last: int, limit: int) -> Query:
        """Select the events with these ids, in order."""
        return cls.select().where(cls.id > after, cls.id <= last).order_by(cls.id).limit(limit)

    @classmethod
    def visible_to(cls, user_id: str | None, topics: Collection[str]) -> Any:
        """Return the condition for the events of these topics that a user, or an anonymous client, may receive."""
        public = cls.user_id.is_null()
        return cls.topic.in_(list(topics)) & ((public | (cls.user_id == user_id)) if user_id else public)


class EventTicket(Model):
    """A one-time ticket for a stream: its digest, and the claims of the access token that can end the stream."""

    digest = peewee.CharField(max_length=64, primary_key=True)
    user_id = IdField()
    session_id = IdField()
    issued_at = peewee.DoubleField()
    token_expires_at = peewee.BigIntegerField()
    expires_at = TimestampField(index=True)
