"""What happens to accounts: each change and its facts in one transaction."""

from typing import Any

import peewee

from services.auth import passwords
from services.auth.models import Profile, User, database, feed, fold_email
from shared import clock
from shared.db import is_postgres
from shared.problems import Problem


def register(name: str, email: str, password: str, *, verified: bool = False) -> User:
    """Make an account; raise EMAIL_TAKEN. Call it inside a transaction, with the password hashed before."""
    folded = fold_email(email)
    try:
        with database.atomic():
            user = User.create(
                name=name, email=email, email_folded=folded, password_hash=password, email_verified=verified
            )
    except peewee.IntegrityError as error:
        raise Problem("EMAIL_TAKEN") from error
    user.profile = Profile.create(user=user)
    feed.publish("user.registered", user.id, _public(user))
    return user


def check_password(email: str, password: str) -> User:
    """Return the user; raise INVALID_CREDENTIALS in the same words and time whichever of the two is wrong."""
    user = User.by_email(email)
    if not passwords.matches(user.password_hash if user else None, password) or user is None:
        raise Problem("INVALID_CREDENTIALS")
    if user.status == "suspended":
        raise Problem("ACCOUNT_SUSPENDED")
    return user


def verify_email(user_id: str, email_folded: str) -> User:
    """Note that the address is its owner's, unless the account has another one by now; return the user."""
    same = (User.id == user_id) & (User.email_folded == email_folded) & ~User.email_verified
    User.update(email_verified=True, version=User.version + 1).where(same).execute()
    return by_id(user_id)


def set_password(user_id: str, password_hash: str) -> None:
    """Change the password. Call it inside a transaction."""
    User.update(password_hash=password_hash).where(User.id == user_id).execute()


def renew_hash(user: User, password: str) -> None:
    """Hash the password anew when the parameters have changed, unless it was changed in the meantime."""
    if passwords.is_outdated(user.password_hash):
        renewed = passwords.hash_password(password)
        if User.update(password_hash=renewed).where(_unchanged(user)).execute():
            user.password_hash = renewed
        else:  # by another password, or by another login that renewed the hash of this one
            user.password_hash = check_password(user.email, password).password_hash


def note_login(user: User) -> User:
    """Set `last_login`; return the user as it is then. Raise INVALID_CREDENTIALS if the password has just changed."""
    if not User.update(last_login=clock.now()).where(_unchanged(user)).execute():
        raise Problem("INVALID_CREDENTIALS")
    return by_id(user.id)


def _unchanged(user: User) -> Any:
    return (User.id == user.id) & (User.password_hash == user.password_hash)


def by_id(user_id: str, *, lock: bool = False) -> User:
    """Return a user with their profile, locked until the transaction ends if so wanted; raise NOT_FOUND."""
    query = User.with_profile().where(User.id == user_id)
    user: User | None = (query.for_update() if lock and is_postgres(database) else query).first()
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
    name = {"name": changes["name"]} if "name" in changes else {}
    User.update(version=User.version + 1, **name).where(User.id == user.id).execute()
    user = by_id(user.id)
    feed.publish("user.updated", user.id, _public(user))
    return user


def _public(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "avatar": user.profile.avatar}
