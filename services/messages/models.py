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

NEW, READ, ARCHIVED = "new", "read", "archived"  # what a contact message is
STATUSES = (NEW, READ, ARCHIVED)
WELCOME, COMMENT, REPLY, LIKE, ROLE = "welcome", "comment", "reply", "like", "role"  # what a notification is about

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


class Person(Model):
    """Whom notifications name; `told_at` is the time of auth's last word, NULL while only a fact of posts named them.

    Who is deleted stays as an id, so that a fact of posts that is read later makes nothing for them or of them.
    """

    id = IdField(primary_key=True)
    name = peewee.CharField(max_length=200, null=True)
    avatar = peewee.TextField(null=True)
    deleted = peewee.BooleanField(default=False)
    told_at = TimestampField(null=True)

    @classmethod
    def introduce(cls, user_id: str, name: str | None) -> None:
        """Add somebody of whom auth's feed has not told yet; what is known already stays."""
        cls.insert(id=user_id, name=name).on_conflict_ignore().execute()

    @classmethod
    def remember(cls, user_id: str, name: str, avatar: str | None, moment: datetime) -> None:
        """Keep what auth said at that moment, unless it has said something newer."""
        known = {"name": name, "avatar": avatar, "told_at": moment}
        is_news = cls.told_at.is_null() | (cls.told_at <= moment)
        cls.insert(id=user_id, **known).on_conflict(
            conflict_target=[cls.id], update=known, where=is_news & ~cls.deleted
        ).execute()

    @classmethod
    def known(cls, after: str, last: str) -> set[str]:
        """Return those with ids in this range who are not deleted."""
        rows: Any = cls.select(cls.id).where(cls.id > after, cls.id <= last, ~cls.deleted).tuples()
        return {user_id for (user_id,) in rows}

    @classmethod
    def forget(cls, user_id: str) -> None:
        nothing = {"name": None, "avatar": None, "deleted": True}
        cls.insert(id=user_id, **nothing).on_conflict(conflict_target=[cls.id], update=nothing).execute()

    @classmethod
    def are_gone(cls, *user_ids: str) -> bool:
        """Tell whether one of them is deleted."""
        return bool(cls.select().where(cls.id.in_(user_ids), cls.deleted).exists())


class Notification(Model):
    """What a user is told; `key` names the fact that it comes from, so that each becomes one notification.

    Likes of a post are one notification, in `likes` their number; while that is 0 it is not to be seen.
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
        """Select what a user is told, with whom it names; sort by NEWEST_NOTIFICATION."""
        actor = (Person.name.alias("actor_name"), Person.avatar.alias("actor_avatar"))
        return (
            cls.select(cls, *actor)
            .join(Person, peewee.JOIN.LEFT_OUTER, on=(Person.id == cls.actor_id))
            .where(cls.user_id == user_id, cls.likes.is_null() | (cls.likes > 0))
            .namedtuples()
        )

    @classmethod
    def count(cls, user_id: str) -> tuple[int, int]:
        """Count what a user is told, and what of that is not read."""
        total, unread = execute(
            database,
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE NOT read) FROM notification"
            " WHERE user_id = ? AND (likes IS NULL OR likes > 0)",
            (user_id,),
        ).fetchone()
        return total, unread


class Liker(Model):
    """Who likes a post, or did: who likes it again is no news."""

    post_id = IdField()
    user_id = IdField(index=True)
    likes = peewee.BooleanField(default=True)
    liked_at = TimestampField()

    class Meta:
        primary_key = peewee.CompositeKey("post_id", "user_id")
        indexes = ((("post_id", "liked_at"), False),)

    @classmethod
    def add(cls, post_id: str, user_id: str, moment: datetime) -> tuple[bool, bool]:
        """Note a like; return whether it is the user's first of the post, and whether it changes anything."""
        row = cls.insert(post_id=post_id, user_id=user_id, liked_at=moment).on_conflict_ignore()
        first = bool(row.as_rowcount().execute())
        return first, first or cls._set(post_id, user_id, likes=True)

    @classmethod
    def remove(cls, post_id: str, user_id: str) -> bool:
        """Take a like back; return whether there was one."""
        return cls._set(post_id, user_id, likes=False)

    @classmethod
    def _set(cls, post_id: str, user_id: str, *, likes: bool) -> bool:
        row = (cls.post_id == post_id) & (cls.user_id == user_id) & (cls.likes != likes)
        return bool(cls.update(likes=likes).where(row).execute())


NEWEST_NOTIFICATION = Order("newest", (Notification.created_at, Notification.id))


class EventHead(Model):
    """The id of the newest event: one row, which whoever appends locks until the end of the transaction.

    So ids have no gaps and appear in their order on PostgreSQL too: whoever has read one has read all before it.
    """

    last = peewee.BigIntegerField()

    @classmethod
    def next(cls) -> int:
        """Return the id of the next event; nobody else gets one before this transaction ends."""
        (row,) = cls.update(last=cls.last + 1).returning(cls.last).execute()
        return int(row.last)

    @classmethod
    def newest(cls) -> int:
        return int(cls.select(cls.last).scalar())


class Event(Model):
    """What live streams tell: to everybody, or to its owner `user_id`; `subject` is the id of what it is about."""

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
    def heard_by(cls, user_id: str | None, topics: Collection[str]) -> Any:
        """Return the condition for what a user, or a stranger, may hear of these topics."""
        public = cls.user_id.is_null()
        return cls.topic.in_(list(topics)) & ((public | (cls.user_id == user_id)) if user_id else public)

    @classmethod
    def oldest(cls) -> int | None:
        return cls.select(peewee.fn.MIN(cls.id)).scalar()  # type: ignore[no-any-return]


class EventTicket(Model):
    """The right to open one stream as somebody: a digest, and of the access token what may end the stream."""

    digest = peewee.CharField(max_length=64, primary_key=True)
    user_id = IdField()
    session_id = IdField()
    issued_at = peewee.DoubleField()
    token_expires_at = peewee.BigIntegerField()
    expires_at = TimestampField(index=True)
