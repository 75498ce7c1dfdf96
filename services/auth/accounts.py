"""Create, verify, authenticate and change accounts; each change and its facts are one transaction."""

from datetime import datetime
from typing import Any

import peewee

from services.auth import account_mail, login_throttle, passwords, signin_sources
from services.auth.audit_log import audit
from services.auth.models import SUSPENDED, AuditKind, Profile, Session, User, database, feed, fold_name
from shared import clock
from shared.database.locking import locking
from shared.mail.addresses import fold_email
from shared.problems import Problem

PAGE = 500


def register(name: str, email: str, password: str, *, role: str = "user", verified: bool = False) -> User:
    """Create an account; `password` is its argon2id hash. Raise EMAIL_TAKEN. Call it inside a transaction."""
    folded = {"name_folded": fold_name(name), "email_folded": fold_email(email)}
    try:
        with database.atomic():
            user = User.create(
                name=name, email=email, password_hash=password, role=role, email_verified=verified, **folded
            )
    except peewee.IntegrityError as error:
        raise Problem("EMAIL_TAKEN") from error
    user.profile = Profile.create(user=user)
    feed.publish("user.registered", user.id, public_profile(user))
    return user


def check_password(email: str, password: str) -> User:
    """Authenticate a user by address and password; raise INVALID_CREDENTIALS, ACCOUNT_SUSPENDED or RATE_LIMITED.

    An unknown address and a wrong password get the same response in the same time (no account enumeration). The login
    throttle is checked before the password is hashed.
    """
    account = fold_email(email)
    user = User.by_email(email)
    source = signin_sources.known_source(user.id if user else "")
    login_throttle.check(account, source)
    try:
        return _checked(user, password)
    except Problem as problem:
        if problem.code == "INVALID_CREDENTIALS":
            _note_failure("login_failed", account, user, source)
        elif problem.code == "ACCOUNT_SUSPENDED":
            _note_suspended(account, user, source)
        raise


def _note_failure(kind: AuditKind, account: str, user: User | None, source: str = "") -> None:
    with database.atomic():
        login_throttle.record_failure(account, source)
        audit(kind, user.id if user else None)


def _note_suspended(account: str, user: User | None, source: str) -> None:
    """Audit a login with the right password; raise RATE_LIMITED if concurrent guesses used up the login throttle."""
    with database.atomic():
        login_throttle.recheck(account, source)
        audit("login_failed", user.id if user else None, code="ACCOUNT_SUSPENDED")


def _checked(user: User | None, password: str) -> User:
    if not passwords.matches(user.password_hash if user else None, password) or user is None:
        raise Problem("INVALID_CREDENTIALS")
    if user.status == SUSPENDED:
        raise Problem("ACCOUNT_SUSPENDED")
    return user


def verify_email(user_id: str, email_folded: str) -> User:
    """Mark the address as verified, unless it has been changed since the mail; return the user."""
    same = (User.id == user_id) & (User.email_folded == email_folded) & ~User.email_verified
    User.update(email_verified=True, version=User.version + 1).where(same).execute()
    return by_id(user_id)


def set_password(user: User, password_hash: str) -> None:
    """Store a new password hash and reset the login throttle. Call it inside a transaction."""
    User.update(password_hash=password_hash).where(User.id == user.id).execute()
    forget_guesses(user)


def renew_hash(user: User, password: str) -> None:
    """Rehash the password if its argon2 parameters are outdated and no other request has replaced the hash."""
    if passwords.is_outdated(user.password_hash, password):
        renewed = passwords.hash_password(password)
        if User.update(password_hash=renewed).where(_unchanged(user)).execute():
            user.password_hash = renewed
        else:  # by another password, or by another login that renewed the hash of this one
            user.password_hash = check_password(user.email, password).password_hash


def note_login(user: User) -> User:
    """Set `last_login` and return the current user; raise INVALID_CREDENTIALS if password or status has changed.

    A login from a known source clears the failures of that source. Failures from unknown sources still count.
    """
    if not User.update(last_login=clock.now()).where(_unchanged(user), User.status == user.status).execute():
        raise Problem("INVALID_CREDENTIALS")
    source = signin_sources.known_source(user.id)
    (login_throttle.clear_source if source else login_throttle.recheck)(user.email_folded, source)
    return by_id(user.id)


def _unchanged(user: User) -> Any:
    return (User.id == user.id) & (User.password_hash == user.password_hash)


def require_password(user: User, password: str) -> None:
    """Verify the password of a signed-in user again; raise INVALID_CREDENTIALS or RATE_LIMITED.

    These failures have their own throttle, so that failed logins of other clients do not block the owner.
    """
    login_throttle.check(user.id)
    if not passwords.matches(user.password_hash, password):
        _note_failure("password_refused", user.id, user)
        raise Problem("INVALID_CREDENTIALS", "The password is not right.")
    with database.atomic():
        login_throttle.clear_source(user.id)


def change_password(user: User, password_hash: str, session_id: str, now: datetime) -> list[str]:
    """Store a new password hash, revoke the other sessions and return their ids; raise CONFLICT.

    Call it inside a transaction.
    """
    if not User.update(password_hash=password_hash).where(_unchanged(user)).execute():
        raise Problem("CONFLICT", "The password was changed meanwhile.")
    forget_guesses(user)
    ended = Session.end_all(user.id, now, besides=session_id)
    audit("password_changed", user.id, sessions=len(ended))
    account_mail.password_changed(user)
    return ended


def forget_guesses(user: User) -> None:
    """Reset the login throttle and forget the `device` cookies of the user. Call it inside a transaction."""
    login_throttle.clear_account(user)
    signin_sources.forget_devices(user.id)


def by_id(user_id: str, *, lock: bool = False) -> User:
    """Return a user with their profile; `lock` holds a row lock until the transaction ends. Raise NOT_FOUND."""
    query = User.with_profile().where(User.id == user_id)
    user: User | None = (locking(query) if lock else query).first()
    if user is None:
        raise Problem("NOT_FOUND")
    return user


def update_profile(user: User, changes: dict[str, Any]) -> User:
    """Change name, bio or avatar and publish `user.updated` if a value differs. Call it inside a transaction."""
    if all(value == getattr(user if name == "name" else user.profile, name) for name, value in changes.items()):
        return user
    about = {name: value for name, value in changes.items() if name in ("bio", "avatar")}
    if about:
        Profile.update(about).where(Profile.user == user.id).execute()
    name = {"name": changes["name"], "name_folded": fold_name(changes["name"])} if "name" in changes else {}
    User.update(version=User.version + 1, **name).where(User.id == user.id).execute()
    user = by_id(user.id)
    feed.publish("user.updated", user.id, public_profile(user))
    return user


def public_profile(user: User) -> dict[str, Any]:
    """Return the data of a `user.*` fact."""
    return {"id": user.id, "name": user.name, "avatar": user.profile.avatar}


def profiles_after(user_id: str) -> list[dict[str, Any]]:
    """Return one page of public profiles, by id, after a user id."""
    users = User.with_profile().where(User.id > user_id).order_by(User.id).limit(PAGE)
    return [public_profile(user) for user in users]
