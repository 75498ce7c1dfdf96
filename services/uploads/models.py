"""Tables of the uploads service and the named queries on them."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote

import peewee
from peewee import fn

from services.uploads.file_paths import MAX_NAME
from services.uploads.file_types.registry import KINDS, FileType
from shared import clock
from shared.database.connection import Database, execute
from shared.database.fields import IdField, TimestampField, id_field
from shared.database.idempotency import Idempotency, IdempotencyKeyColumns
from shared.database.locking import delete_unlocked
from shared.database.pagination import Order
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, Feed, FeedPositionColumns

_SAFE = "/!$&'()*+,;=:@"

_ADD = """
INSERT INTO usage (user_id, bytes) SELECT ?, ? WHERE ? <= ?
ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes + excluded.bytes
WHERE usage.bytes + excluded.bytes <= ? AND usage.gone_at IS NULL
"""

database = Database()
Query: TypeAlias = "peewee.ModelSelect[Any]"


class Model(peewee.Model):
    """A table of this service."""

    class Meta:
        database = database
        legacy_table_names = False


Fact = own_table(FactColumns, database)
FeedPosition = own_table(FeedPositionColumns, database)
IdempotencyKey = own_table(IdempotencyKeyColumns, database)
feed = Feed("uploads", Fact, database)
idempotency = Idempotency(IdempotencyKey, database)


class Upload(Model):
    """A file that is kept.

    `name` is its path under its owner's root, `key` the place of its bytes in the storage: the first may come from
    clients, the second is always ours.
    """

    id = id_field()
    user_id = IdField()
    name = peewee.CharField(max_length=MAX_NAME)
    key = peewee.CharField(max_length=80, unique=True)
    filename = peewee.CharField(max_length=255)
    mime_type = peewee.CharField(max_length=64)
    size = peewee.BigIntegerField()
    sha256 = peewee.CharField(max_length=64)
    width = peewee.IntegerField(null=True)
    height = peewee.IntegerField(null=True)
    private = peewee.BooleanField()
    version = peewee.IntegerField(default=1)
    created_at = TimestampField(default=clock.now)
    modified_at = TimestampField(default=clock.now)

    class Meta:
        indexes = ((("user_id", "name"), True), (("user_id", "created_at", "id"), False))

    @property
    def kind(self) -> FileType:
        return KINDS[self.mime_type]

    @property
    def path(self) -> str:
        """Return the path of its address, percent-encoded as the gateway does it."""
        return f"/api/files/{self.user_id}/{quote(self.name, safe=_SAFE)}"

    @property
    def etag(self) -> str:
        """Return the tag of its bytes: the version first, as in every tag, so that If-Match takes it."""
        return f'"{self.version}.{self.sha256[:32]}"'

    def etag_of(self, variant: str) -> str:
        """Return the tag of the bytes of a variant."""
        return f'"{self.version}.{hashlib.sha256(f"{self.sha256} {variant}".encode()).hexdigest()[:32]}"'

    @classmethod
    def of(cls, user_id: str) -> Query:
        """Select a user's uploads; sort by NEWEST."""
        return cls.select().where(cls.user_id == user_id)

    @classmethod
    def named(cls, user_id: str, name: str) -> Query:
        """Select the upload at a path under the user's root."""
        return cls.select().where(cls.user_id == user_id, cls.name == name)

    @classmethod
    def known(cls, keys: Collection[str]) -> set[str]:
        """Return those of the keys that belong to an upload."""
        rows: Any = cls.select(cls.key).where(cls.key.in_(list(keys))).tuples()
        return {key for (key,) in rows}


class Usage(Model):
    """How many bytes a user's uploads have together; its row is also the lock on them.

    The row of a deleted user stays for a while, so that nothing of theirs that is still coming in is kept.
    """

    user_id = IdField(primary_key=True)
    bytes = peewee.BigIntegerField()
    gone_at = TimestampField(null=True)

    @classmethod
    def owners(cls, after: str, last: str) -> set[str]:
        """Return those who have, or had, uploads, of the users with ids in this range."""
        rows: Any = cls.select(cls.user_id).where(cls.user_id > after, cls.user_id <= last).tuples()
        return {user_id for (user_id,) in rows}

    @classmethod
    def lock(cls, user_id: str) -> None:
        """Let nobody else add, change or delete uploads of the user until the transaction ends."""
        cls.insert(user_id=user_id, bytes=0).on_conflict_ignore().execute()
        cls.update(bytes=cls.bytes).where(cls.user_id == user_id).execute()

    @classmethod
    def add(cls, user_id: str, size: int, quota: int) -> bool:
        """Count so many bytes more; return False, and count nothing, when they would be too many, or of nobody."""
        changed: int = execute(database, _ADD, (user_id, size, size, quota, quota)).rowcount
        return changed == 1

    @classmethod
    def remove(cls, user_id: str, size: int) -> None:
        cls.update(bytes=cls.bytes - size).where(cls.user_id == user_id).execute()

    @classmethod
    def end(cls, user_id: str) -> None:
        """Count nothing for a deleted user any more; the row is locked."""
        cls.update(bytes=0, gone_at=clock.now()).where(cls.user_id == user_id).execute()

    @classmethod
    def is_gone(cls, user_id: str) -> bool:
        found: bool = cls.select().where(cls.user_id == user_id, cls.gone_at.is_null(False)).exists()
        return found

    @classmethod
    def forget(cls, before: datetime) -> None:
        """Delete the rows of users who were deleted before that."""
        delete_unlocked(cls, cls.gone_at < before)


class Resumable(Model):
    """An upload that is sent in several requests, known until it expires; its bytes are in `partials` until it is done.

    What was done is the upload with the same id. What was not counts with its whole `length` in `Usage`.
    """

    id = id_field()
    user_id = IdField(index=True)
    length = peewee.BigIntegerField()
    metadata = peewee.TextField()
    done = peewee.BooleanField(default=False)
    expires_at = TimestampField(index=True)

    @classmethod
    def live(cls, user_id: str, upload_id: str) -> Query:
        """Select a user's upload unless it has expired, or was completed and is deleted."""
        is_there = ~cls.done | fn.EXISTS(Upload.select().where(Upload.id == cls.id))
        return cls.select().where(cls.id == upload_id, cls.user_id == user_id, cls.expires_at > clock.now(), is_there)

    @classmethod
    def expired(cls, now: datetime) -> Query:
        """Select what was not completed in time."""
        return cls.select().where(cls.expires_at <= now, ~cls.done)

    @classmethod
    def complete(cls, upload_id: str) -> bool:
        """Mark it as done; return False when it is already or has gone."""
        waiting = (cls.id == upload_id) & ~cls.done
        changed: int = cls.update(done=True).where(waiting).execute()
        return changed == 1

    @classmethod
    def remove(cls, upload_id: str) -> bool:
        """Delete it unless it is done; return whether it was there."""
        removed: int = cls.delete().where(cls.id == upload_id, ~cls.done).execute()
        return removed == 1

    @classmethod
    def known(cls, ids: Collection[str]) -> set[str]:
        """Return those of the ids that are still under way."""
        rows: Any = cls.select(cls.id).where(cls.id.in_(list(ids)), ~cls.done).tuples()
        return {upload_id for (upload_id,) in rows}


NEWEST = Order("newest", (Upload.created_at, Upload.id))
