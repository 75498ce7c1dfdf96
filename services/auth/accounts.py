"""What happens to accounts: each change and its facts in one transaction."""

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
    """Make an account; raise EMAIL_TAKEN. Call it inside a transaction, with the password hashed before."""
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
    """Return the user; raise INVALID_CREDENTIALS in the same words and time whichever of the two is wrong.

    Raises RATE_LIMITED after five failures, before anything is hashed.
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
    """Note that somebody had the password; whoever guessed it among too many is not told."""
    with database.atomic():
        login_throttle.recheck(account, source)
        audit("login_failed", user.id if user else None, code="ACCOUNT_SUSPENDED")


def _checked(user: User | None, password: str) -> User:
    """Return the user whose password it is."""
    if not passwords.matches(user.password_hash if user else None, password) or user is None:
        raise Problem("INVALID_CREDENTIALS")
    if user.status == SUSPENDED:
        raise Problem("ACCOUNT_SUSPENDED")
    return user


def verify_email(user_id: str, email_folded: str) -> User:
    """Note that the address is its owner's, unless the account has another one by now; return the user."""
    same = (User.id == user_id) & (User.email_folded == email_folded) & ~User.email_verified
    User.update(email_verified=True, version=User.version + 1).where(same).execute()
    return by_id(user_id)


def set_password(user: User, password_hash: str) -> None:
    """Change the password. Call it inside a transaction."""
    User.update(password_hash=password_hash).where(User.id == user.id).execute()
    forget_guesses(user)


def renew_hash(user: User, password: str) -> None:
    """Hash the password anew when the parameters have changed, unless it was changed in the meantime."""
    if passwords.is_outdated(user.password_hash, password):
        renewed = passwords.hash_password(password)
        if User.update(password_hash=renewed).where(_unchanged(user)).execute():
            user.password_hash = renewed
        else:  # by another password, or by another login that renewed the hash of this one
            user.password_hash = check_password(user.email, password).password_hash


def note_login(user: User) -> User:
    """Set `last_login` and return the user as they are, unless they changed since the password was checked.

    What others failed from addresses that are not known still counts.
    """
    if not User.update(last_login=clock.now()).where(_unchanged(user), User.status == user.status).execute():
        raise Problem("INVALID_CREDENTIALS")
    source = signin_sources.known_source(user.id)
    (login_throttle.clear_source if source else login_throttle.recheck)(user.email_folded, source)
    return by_id(user.id)


def _unchanged(user: User) -> Any:
    return (User.id == user.id) & (User.password_hash == user.password_hash)


def require_password(user: User, password: str) -> None:
    """Raise INVALID_CREDENTIALS unless it is the password of the user, who is signed in; RATE_LIMITED as for logins.

    Such failures are counted apart, so that strangers who fail to log in do not hinder the owner here.
    """
    login_throttle.check(user.id)
    if not passwords.matches(user.password_hash, password):
        _note_failure("password_refused", user.id, user)
        raise Problem("INVALID_CREDENTIALS", "The password is not right.")
    with database.atomic():
        login_throttle.clear_source(user.id)


def change_password(user: User, password_hash: str, session_id: str, now: datetime) -> list[str]:
    """Set another password and return the other sessions, which end. Call it inside a transaction."""
    if not User.update(password_hash=password_hash).where(_unchanged(user)).execute():
        raise Problem("CONFLICT", "The password was changed meanwhile.")
    forget_guesses(user)
    ended = Session.end_all(user.id, now, besides=session_id)
    audit("password_changed", user.id, sessions=len(ended))
    account_mail.password_changed(user)
    return ended


def forget_guesses(user: User) -> None:
    """Count failures anew for another password, and know no browser by its cookie. Call it inside a transaction."""
    login_throttle.clear_account(user)
    signin_sources.forget_devices(user.id)


def by_id(user_id: str, *, lock: bool = False) -> User:
    """Return a user with their profile, locked until the transaction ends if so wanted; raise NOT_FOUND."""
    query = User.with_profile().where(User.id == user_id)
    user: User | None = (locking(query) if lock else query).first()
    if user is None:
        raise Problem("NOT_FOUND")
    return user


def update_profile(user: User, changes: dict[str, Any]) -> User:
    """Change name, bio or avatar, and tell everybody what differs. Call it inside a transaction."""
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
    """Return what a fact tells of a user."""
    return {"id": user.id, "name": user.name, "avatar": user.profile.avatar}


def profiles_after(user_id: str) -> list[dict[str, Any]]:
    """Return what facts tell of the next users, in the order of their ids."""
    users = User.with_profile().where(User.id > user_id).order_by(User.id).limit(PAGE)
    return [public_profile(user) for user in users]
