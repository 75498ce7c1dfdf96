"""Tables of the auth service and the named queries on them.

A transaction locks rows in one order: link request, admins by id, user, failures of logins, all other rows.
"""

import unicodedata
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import peewee

from shared import clock
from shared.database.connection import Database
from shared.database.fields import IdField, TimestampField, id_field
from shared.database.idempotency import Idempotency, IdempotencyKeyColumns
from shared.database.locking import locking
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, Feed
from shared.mail.addresses import MAX_EMAIL, fold_email, plain_email
from shared.mail.outbox import MailColumns, Outbox

ACTIVE, SUSPENDED, PENDING = "active", "suspended", "pending"
NO_PASSWORD = "!"  # instead of a hash: the user sets a password by the mailed link first
database = Database()
TOKEN_LIFETIME = {True: timedelta(days=7), False: timedelta(days=1)}  # with rememberMe, without
SESSION_LIFETIME = {True: timedelta(days=30), False: timedelta(days=7)}


def fold_name(name: str) -> str:
    """Normalize a name for search and sorting: NFKC and case folding."""
    return unicodedata.normalize("NFKC", name).casefold()[:200]


class Model(peewee.Model):
    """Base class: binds the tables to the database of the service."""

    class Meta:
        database = database
        legacy_table_names = False


Fact = own_table(FactColumns, database)
IdempotencyKey = own_table(IdempotencyKeyColumns, database)
Mail = own_table(MailColumns, database)
feed = Feed("auth", Fact, database)
idempotency = Idempotency(IdempotencyKey, database)
outbox = Outbox(Mail, database)


class User(Model):
    """An account; `email` is as typed, `email_folded` is normalized and unique."""

    id = id_field()
    name = peewee.CharField(max_length=50)
    name_folded = peewee.CharField(max_length=200, constraints=[peewee.SQL("DEFAULT ''")])
    email = peewee.CharField(max_length=MAX_EMAIL)
    email_folded = peewee.CharField(max_length=MAX_EMAIL, unique=True)
    password_hash = peewee.CharField(max_length=200)
    role = peewee.CharField(max_length=9, default="user")
    status = peewee.CharField(max_length=9, default="active")
    email_verified = peewee.BooleanField(default=False)
    version = peewee.IntegerField(default=1)
    created_at = TimestampField(default=clock.now)
    last_login = TimestampField(null=True)
    profile: "Profile"

    class Meta:
        indexes = ((("created_at", "id"), False), (("name_folded", "id"), False))

    @property
    def standing(self) -> str:
        """Return the status in the API: suspended, pending (the address is not verified) or active."""
        if self.status == SUSPENDED:
            return SUSPENDED
        return ACTIVE if self.email_verified else PENDING

    @classmethod
    def has_standing(cls, standing: str) -> Any:
        """Return the SQL condition for a standing."""
        if standing == SUSPENDED:
            return cls.status == SUSPENDED
        return (cls.status == ACTIVE) & (cls.email_verified == (standing == ACTIVE))

    @classmethod
    def acts_as_admin(cls, *, verified: bool) -> Any:
        """Return the SQL condition for admins who can sign in; `verified` requires a verified address."""
        can_sign_in = (cls.role == "admin") & (cls.status == ACTIVE) & (cls.password_hash != NO_PASSWORD)
        return can_sign_in & cls.email_verified if verified else can_sign_in

    @classmethod
    def by_email(cls, email: str) -> "User | None":
        found: User | None = cls.get_or_none(cls.email_folded == fold_email(email))
        return found

    @classmethod
    def lock(cls, user_id: str) -> bool:
        """Lock the row until the transaction ends; return whether the user exists."""
        return locking(cls.select(cls.id).where(cls.id == user_id)).first() is not None

    @classmethod
    def search(cls, text: str | None, standing: str | None, role: str | None) -> "peewee.ModelSelect[Any]":
        """Select users with their profiles by part of the name or address, standing and role."""
        query = cls.with_profile()
        if text:
            found = cls.name_folded.contains(fold_name(text)) | cls.email_folded.contains(fold_email(text))
            query = query.where(found | cls.email_folded.contains(plain_email(text).lower()))
        if standing:
            query = query.where(cls.has_standing(standing))
        return query.where(cls.role == role) if role else query

    @classmethod
    def with_profile(cls) -> "peewee.ModelSelect[User]":
        """Select users joined with their profiles."""
        return cls.select(cls, Profile).join(Profile, attr="profile")


class Profile(Model):
    """The public profile of a user; `avatar` is the id of an upload."""

    user = peewee.ForeignKeyField(User, primary_key=True, on_delete="CASCADE")
    bio = peewee.CharField(max_length=500, null=True)
    avatar = IdField(null=True)


class Session(Model):
    """One sign-in and its family of refresh tokens."""

    id = id_field()
    user = peewee.ForeignKeyField(User, on_delete="CASCADE")
    user_id: str
    remember = peewee.BooleanField()
    cookie_only = peewee.BooleanField(constraints=[peewee.SQL("DEFAULT FALSE")])
    user_agent = peewee.CharField(max_length=200)
    address = peewee.CharField(max_length=64)
    created_at = TimestampField()
    last_used_at = TimestampField()
    expires_at = TimestampField()
    revoked_at = TimestampField(null=True)

    @classmethod
    def end(cls, session_id: str, now: datetime) -> bool:
        """Revoke a session and publish `session.revoked`; return whether it was active, inside a transaction."""
        running = (cls.id == session_id) & cls.revoked_at.is_null()
        if not cls.update(revoked_at=now).where(running).execute():
            return False
        user_id: Any = cls.select(cls.user).where(cls.id == session_id).scalar()
        feed.publish("session.revoked", session_id, {"userId": user_id})
        return True

    @classmethod
    def end_all(cls, user_id: str, now: datetime, besides: str = "") -> list[str]:
        """Revoke the user's sessions except `besides` and return their ids. Call it inside a transaction."""
        running = (cls.user == user_id) & cls.revoked_at.is_null() & (cls.expires_at > now) & (cls.id != besides)
        ids = [session.id for session in cls.select(cls.id).where(running).order_by(cls.id)]
        return [session_id for session_id in ids if cls.end(session_id, now)]

    @classmethod
    def running(cls, user_id: str, now: datetime) -> "peewee.ModelSelect[Any]":
        """Select the user's active sessions, which have an unexpired refresh token."""
        continues = (RefreshToken.session == cls.id) & RefreshToken.replaced_at.is_null()
        token = RefreshToken.select().where(continues, RefreshToken.expires_at > now)
        return cls.select().where(cls.user == user_id, cls.revoked_at.is_null(), peewee.fn.EXISTS(token))

    @classmethod
    def note_use(cls, session_id: str, now: datetime) -> bool:
        """Set `last_used_at` of an active session; return whether it is active."""
        running = (cls.id == session_id) & cls.revoked_at.is_null()
        return bool(cls.update(last_used_at=now).where(running).execute())

    @classmethod
    def ended_since(cls, moment: datetime) -> list[str]:
        """Return the ids of the sessions that were revoked after the moment."""
        return [row.id for row in cls.select(cls.id).where(cls.revoked_at > moment)]


class RefreshToken(Model):
    """A refresh token by its SHA-256; `successor` is encrypted with the token that it replaces."""

    hash = peewee.BlobField(primary_key=True)
    session = peewee.ForeignKeyField(Session, on_delete="CASCADE", index=False)
    session_id: str
    expires_at = TimestampField()
    replaced_at = TimestampField(null=True)
    successor = peewee.BlobField(null=True)

    class Meta:
        indexes = ((("session", "replaced_at"), False),)

    @classmethod
    def replacements(cls, session_id: str, since: datetime) -> list[datetime]:
        """Return the times of rotation of the session's tokens, the earliest first."""
        query = cls.select(cls.replaced_at).where(cls.session == session_id, cls.replaced_at > since)
        return [row.replaced_at for row in query.order_by(cls.replaced_at)]


class MailToken(Model):
    """The single-use token of a mailed link, by its SHA-256; it is valid for the address that it was mailed to."""

    hash = peewee.BlobField(primary_key=True)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE")
    user_id: str
    purpose = peewee.CharField(max_length=16)
    email_folded = peewee.CharField(max_length=MAX_EMAIL)
    expires_at = TimestampField(index=True)

    @classmethod
    def usable(cls, token_hash: bytes, purpose: str, now: datetime) -> "peewee.ModelSelect[MailToken]":
        """Select a valid token with its user and profile."""
        return (
            cls.select(cls, User, Profile)
            .join(User)
            .join(Profile, attr="profile")
            .where(cls.hash == token_hash, cls.purpose == purpose, cls.expires_at > now)
            .where(cls.email_folded == User.email_folded)
        )

    @classmethod
    def take(cls, token_hash: bytes) -> bool:
        """Redeem a token; of concurrent requests only one gets True."""
        return bool(cls.delete().where(cls.hash == token_hash).execute())

    @classmethod
    def forget(cls, user_id: str, purpose: str) -> None:
        """Delete a user's tokens for the purpose."""
        cls.delete().where(cls.user == user_id, cls.purpose == purpose).execute()


class LinkRequest(Model):
    """A request to mail a link, rate-limited per address and purpose; the address may have no account."""

    email_folded = peewee.CharField(max_length=MAX_EMAIL)
    purpose = peewee.CharField(max_length=16)
    requested_at = TimestampField(index=True)
    pending = peewee.BooleanField()

    class Meta:
        primary_key = peewee.CompositeKey("email_folded", "purpose")

    @classmethod
    def note(cls, email: str, purpose: str, now: datetime, *, pending: bool, pause: timedelta | None = None) -> None:
        """Insert or renew the request in one statement, unless the last one is younger than `pause`."""
        change = {cls.requested_at: now, cls.pending: pending}
        cls.insert(email_folded=fold_email(email), purpose=purpose, requested_at=now, pending=pending).on_conflict(
            conflict_target=[cls.email_folded, cls.purpose],
            update=change,
            where=(cls.requested_at <= now - pause) if pause else None,
        ).execute()

    @classmethod
    def waiting(cls, limit: int) -> "peewee.ModelSelect[LinkRequest]":
        return cls.select().where(cls.pending).order_by(cls.requested_at).limit(limit)

    def take(self) -> bool:
        """Mark the request as processed; of concurrent processes only one gets True."""
        model = type(self)
        same = (model.email_folded == self.email_folded) & (model.purpose == self.purpose) & model.pending
        return bool(model.update(pending=False).where(same).execute())


AuditKind = Literal[
    "registered",
    "login",
    "login_failed",
    "logout",
    "logout_all",
    "session_revoked",
    "refresh_reused",
    "password_refused",
    "password_changed",
    "email_changed",
    "email_conflict",
    "role_changed",
    "suspended",
    "reinstated",
    "user_created",
    "user_deleted",
    "user_left",
]
AUDIT_KINDS: tuple[str, ...] = get_args(AuditKind)


class AuditEvent(Model):
    """A security event, which outlives its account; `detail` is a JSON object."""

    id = id_field()
    kind = peewee.CharField(max_length=40)
    user_id = IdField(null=True)
    actor_id = IdField(null=True)
    address = peewee.CharField(max_length=64)
    request_id = peewee.CharField(max_length=128)
    created_at = TimestampField(default=clock.now)
    detail = peewee.TextField()

    class Meta:
        indexes = (
            (("created_at", "id"), False),
            (("kind", "created_at", "id"), False),
            (("user_id", "created_at", "id"), False),
        )
