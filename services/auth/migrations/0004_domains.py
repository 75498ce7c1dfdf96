"""Compare the domains of addresses by their A-labels (IDNA2008), so that each mailbox has one account.

Of several accounts that turn out to have one address the verified one keeps it, else the older. Nobody can sign in
to the others by it until an admin gives them another address. The log and an audit event name each of them.
"""

import logging
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import idna
import orjson
import peewee
from playhouse.migrate import SchemaMigrator

from shared import clock
from shared.database.fields import IdField, TimestampField
from shared.ids import new_id

BATCH = 1000
TAKEN = "TAKEN:"  # in upper case, as no folded address is
_logger = logging.getLogger("postern.auth")


def models(db: peewee.Database) -> tuple[Any, Any, Any]:
    """Return what is needed of the tables of accounts, mailed links and security events."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Model):
        id = IdField(primary_key=True)
        email = peewee.CharField()
        email_folded = peewee.CharField()
        email_verified = peewee.BooleanField()
        created_at = TimestampField()

    class MailToken(Model):
        hash = peewee.BlobField(primary_key=True)
        user_id = IdField()
        email_folded = peewee.CharField()

    class AuditEvent(Model):
        id = IdField(primary_key=True)
        kind = peewee.CharField()
        user_id = IdField(null=True)
        address = peewee.CharField()
        request_id = peewee.CharField()
        created_at = TimestampField()
        detail = peewee.TextField()

    return User, MailToken, AuditEvent


def folded_before(email: str) -> str:
    return unicodedata.normalize("NFKC", email).lower()


def folded(email: str) -> str:
    local, at, domain = unicodedata.normalize("NFKC", email).rpartition("@")
    if not domain.isascii() or "xn--" in domain.lower():
        with suppress(ValueError):
            domain = idna.encode(domain, uts46=True).decode()
    return f"{local}{at}{domain}".lower()


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    user, mail_token, _ = tables = models(db)
    owners: dict[str, Any] = {}
    for row in sorted(_with_other_domains(user), key=lambda row: (not row.email_verified, row.created_at, row.id)):
        owner = owners.setdefault(folded(row.email), row)
        if owner is not row:
            _give_up_address(tables, row, owner)
    for address, row in owners.items():
        if address != row.email_folded:
            _set_address(user, mail_token, row, address)


def _all(user: Any) -> Iterator[Any]:
    last = ""
    while rows := list(user.select().where(user.id > last).order_by(user.id).limit(BATCH)):
        yield from rows
        last = rows[-1].id


def _with_other_domains(user: Any) -> list[Any]:
    """Return the accounts whose addresses may be folded in another way now, and those that have such an address."""
    found = [row for row in _all(user) if not row.email_folded.isascii() or "xn--" in row.email_folded]
    known = {row.email_folded for row in found}
    for address in {folded(row.email) for row in found} - known:  # UTS 46 drops the soft hyphen and the like
        found += list(user.select().where(user.email_folded == address))
    return found


def _give_up_address(tables: tuple[Any, Any, Any], row: Any, owner: Any) -> None:
    user, mail_token, audit_event = tables
    _logger.warning("account %s cannot sign in by its address, which account %s has too", row.id, owner.id)
    audit_event.create(
        id=new_id(),
        kind="email_conflict",
        user_id=row.id,
        address="",
        request_id="",
        created_at=clock.now(),
        detail=orjson.dumps({"keptBy": owner.id}).decode(),
    )
    _set_address(user, mail_token, row, f"{TAKEN}{row.id}")


def _set_address(user: Any, mail_token: Any, row: Any, address: str) -> None:
    user.update(email_folded=address).where(user.id == row.id).execute()
    mail_token.update(email_folded=address).where(
        mail_token.user_id == row.id, mail_token.email_folded == row.email_folded
    ).execute()


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    user, mail_token, audit_event = models(db)
    changed = [row for row in _all(user) if row.email_folded != folded_before(row.email)]
    for row in sorted(changed, key=lambda row: row.email_folded.startswith(TAKEN)):
        _set_address(user, mail_token, row, folded_before(row.email))
    audit_event.delete().where(audit_event.kind == "email_conflict").execute()
