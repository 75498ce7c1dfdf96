"""What admins do to accounts; there is always one who can."""

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
    """An account as it is now, the sessions that ended, and whether the tokens made before did too."""

    user: User
    sessions: list[str]
    tokens_ended: bool


def create(name: str, email: str, password_hash: str | None, role: str) -> User:
    """Make an account for somebody; raise EMAIL_TAKEN. Call it inside a transaction.

    Without a password the user cannot sign in before setting one by the mailed link.
    """
    user = accounts.register(name, email, password_hash or NO_PASSWORD, role=role)
    audit("user_created", user.id, role=role)
    if password_hash is None:
        account_mail.invite(user)
    return user


def change(user_id: str, changes: dict[str, Any], now: datetime, check: Check, keep_session: str = "") -> Change:
    """Change name, email, password_hash, role or status; raise EMAIL_TAKEN, or CONFLICT for the last admin.

    An address that is written as before is stored again when it is not the account's own: an earlier version made
    that of an account whose mailbox another one has.

    `check` gets the account and may refuse; `keep_session` goes on when the password changes. Call it inside a
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
    """Delete an account and tell everybody; raise CONFLICT for the last admin. Call it inside a transaction.

    `kind` is how the event is called; `check` gets the account and may refuse.
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

    Whoever takes an admin's rights away comes here first: of two who want each other's, one waits and then sees
    what the other did.
    """
    can_act = User.acts_as_admin(verified=_needs_verification())
    return {user.id for user in locking(User.select(User.id).where(can_act).order_by(User.id))}


def keep_an_admin(admins: set[str], user: User) -> None:
    """Raise CONFLICT when the user is the only admin."""
    if admins == {user.id}:
        detail = "The last admin can be neither removed nor demoted nor suspended"
        raise Problem("CONFLICT", f"{detail}, and keeps a verified address.")


def _needs_verification() -> bool:
    """Tell whether users need a verified address to sign in; `make admin` has no app and takes no rights away."""
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
    """Publish and note what changed, and return the sessions that end by it."""
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
