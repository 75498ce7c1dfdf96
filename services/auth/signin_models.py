"""Tables of failed logins and known sign-in sources, and the named queries on them."""

from datetime import datetime

import peewee

from services.auth.models import Model, User
from shared.database.fields import TimestampField
from shared.database.locking import delete_unlocked


class FailedLogin(Model):
    """One failed attempt; `account` is the SHA-256 of the folded address, `source` an HMAC or empty."""

    id = peewee.BigAutoField()
    account = peewee.CharField(max_length=64)
    source = peewee.CharField(max_length=64, constraints=[peewee.SQL("DEFAULT ''")])
    created_at = TimestampField(index=True)

    class Meta:
        indexes = ((("account", "created_at"), False),)

    @classmethod
    def times(cls, account: str, source: str, since: datetime) -> list[datetime]:
        """Return when the account failed from the source, the earliest first."""
        same = (cls.account == account) & (cls.source == source)
        query = cls.select(cls.created_at).where(same, cls.created_at > since)
        return [row.created_at for row in query.order_by(cls.created_at)]

    @classmethod
    def forget_before(cls, moment: datetime) -> None:
        delete_unlocked(cls, cls.created_at <= moment)


class SigninSource(Model):
    """An address or a browser from which the user has signed in, as an HMAC."""

    id = peewee.BigAutoField()
    user = peewee.ForeignKeyField(User, on_delete="CASCADE", index=False)
    digest = peewee.CharField(max_length=64)
    kind = peewee.CharField(max_length=7)
    last_used_at = TimestampField(index=True)

    class Meta:
        indexes = ((("user", "digest"), True),)

    @classmethod
    def known(cls, user_id: str, digests: list[str], since: datetime) -> set[str]:
        """Return which of the digests the user has signed in from since then."""
        query = cls.select(cls.digest).where(cls.user == user_id, cls.digest.in_(digests), cls.last_used_at > since)
        return {row.digest for row in query}

    @classmethod
    def note(cls, user_id: str, digest: str, kind: str, now: datetime) -> None:
        cls.insert(user=user_id, digest=digest, kind=kind, last_used_at=now).on_conflict(
            conflict_target=[cls.user, cls.digest], update={cls.last_used_at: now}
        ).execute()

    @classmethod
    def keep_newest(cls, user_id: str, kind: str, number: int) -> None:
        """Delete all sources of a kind except the most recently used."""
        alike = (cls.user == user_id) & (cls.kind == kind)
        surplus = cls.select(cls.id).where(alike).order_by(cls.last_used_at.desc(), cls.id.desc()).offset(number)
        if ids := [row.id for row in surplus.limit(number)]:
            cls.delete().where(cls.id.in_(ids)).execute()
