"""Create, change and delete accounts as an admin; one active admin always remains."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import peewee
from flask import has_app_context

from services.auth import account_mail, accounts
from services.auth.audit_log import actor_id, audit
from services.auth.config import Config
from services.auth.models import ACTIVE, NO_PASSWORD, SUSPENDED, AuditKind, Session, User, database, feed, fold_name
from shared.database.locking import locking
from shared.mail.addresses import fold_email
from shared.problems import Problem
from shared.service import current_service

Check = Callable[[User], None]


class Change(NamedTuple):
    """The changed account, the ids of the revoked sessions, and whether all earlier access tokens are revoked."""

    user: User
    sessions: list[str]
    tokens_ended: bool


def create(name: str, email: str, password_hash: str | None, role: str) -> User:
    """Create an account; raise EMAIL_TAKEN. Call it inside a transaction.

    Without a password hash the user sets a password by the mailed link first.
    """
    user = accounts.register(name, email, password_hash or NO_PASSWORD, role=role)
    audit("user_created", user.id, role=role)
    if password_hash is None:
        account_mail.invite(user)
    return user


def change(user_id: str, changes: dict[str, Any], now: datetime, check: Check, keep_session: str = "") -> Change:
    """Change name, email, password_hash, role or status; raise EMAIL_TAKEN, or CONFLICT for the last admin.

    An unchanged address is stored again if its folded form differs, as in databases of earlier versions in which
    two accounts have the same mailbox.

    `check` gets the locked account and may raise. `keep_session` is not revoked by a new password. Call it inside a
    transaction.
    """
    admins = lock_admins()
    before = accounts.by_id(user_id, lock=True)
    check(before)
    changed = {name: value for name, value in changes.items() if getattr(before, name) != value}
    has_new_address = "email" in changes and fold_email(changes["email"]) != before.email_folded
    if has_new_address:
        changed["email"] = changes["email"]
    loses_address = has_new_address and _needs_verification()
    if loses_address or changes.get("role", "admin") != "admin" or changes.get("status", ACTIVE) != ACTIVE:
        keep_an_admin(admins, before)
    if not changed:
        return Change(before, [], False)
    _write(before, changed)
    user = accounts.by_id(user_id)
    ended = _tell(user, changed, before.email, now, keep_session)
    return Change(user, ended, "role" in changed or user.status == SUSPENDED)


def delete(user_id: str, kind: AuditKind, check: Check) -> None:
    """Delete an account and publish `user.deleted`; raise CONFLICT for the last admin. Call it inside a transaction.

    `kind` is the kind of the audit event; `check` gets the locked account and may raise.
    """
    admins = lock_admins()
    user = accounts.by_id(user_id, lock=True)
    check(user)
    keep_an_admin(admins, user)
    User.delete().where(User.id == user.id).execute()
    feed.publish("user.deleted", user.id, {"id": user.id})
    audit(kind, user.id)


def lock_admins() -> set[str]:
    """Lock the admins who can sign in and return their ids.

    Call it before an admin loses rights. Example: admins A and B demote each other at the same time. One transaction
    waits for the lock and then finds a single admin left: CONFLICT.
    """
    can_act = User.acts_as_admin(verified=_needs_verification())
    return {user.id for user in locking(User.select(User.id).where(can_act).order_by(User.id))}


def keep_an_admin(admins: set[str], user: User) -> None:
    """Raise CONFLICT when the user is the only admin."""
    if admins == {user.id}:
        detail = "The last admin can be neither removed nor demoted nor suspended"
        raise Problem("CONFLICT", f"{detail}, and keeps a verified address.")


def _needs_verification() -> bool:
    """Return whether sign-in needs a verified address; False for `make admin`, which only grants rights."""
    return has_app_context() and current_service().get(Config).needs_verification


def _write(user: User, changed: dict[str, Any]) -> None:
    fields = dict(changed)
    if "name" in changed:
        fields["name_folded"] = fold_name(changed["name"])
    if "email" in changed:
        fields["email_folded"] = fold_email(changed["email"])
        fields["email_verified"] = user.email_verified and fields["email_folded"] == user.email_folded
    try:
        with database.atomic():
            User.update(version=User.version + 1, **fields).where(User.id == user.id).execute()
    except peewee.IntegrityError as error:
        raise Problem("EMAIL_TAKEN") from error


def _tell(user: User, changed: dict[str, Any], email_before: str, now: datetime, keep_session: str) -> list[str]:
    """Publish facts, write audit events and mails for a change; return the ids of the revoked sessions."""
    if "name" in changed:
        feed.publish("user.updated", user.id, accounts.public_profile(user))
    if "email" in changed:
        audit("email_changed", user.id)
        account_mail.email_changed(user, email_before)
    if "role" in changed:
        feed.publish("user.role_changed", user.id, {"role": user.role, "actorId": actor_id()})
        audit("role_changed", user.id, role=user.role)
    if "status" in changed:
        return _tell_status(user, now)
    if "password_hash" in changed:
        accounts.forget_guesses(user)
        audit("password_changed", user.id)
        account_mail.password_changed(user)
        return Session.end_all(user.id, now, besides=keep_session)
    return []


def _tell_status(user: User, now: datetime) -> list[str]:
    if user.status != SUSPENDED:
        audit("reinstated", user.id)
        return []
    feed.publish("user.suspended", user.id, {})
    audit("suspended", user.id)
    return Session.end_all(user.id, now)
