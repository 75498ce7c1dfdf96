"""What admins do to accounts; there is always one who can."""

from typing import Any

from services.auth import accounts
from services.auth.auditing import audit
from services.auth.models import User, database, feed
from shared.db import is_postgres
from shared.problems import Problem


def delete(user_id: str, kind: str, check: Any = None) -> None:
    """Delete an account and tell everybody; raise CONFLICT for the last admin. Call it inside a transaction.

    `check` gets the user and may refuse.
    """
    admins = lock_admins()
    user = accounts.by_id(user_id, lock=True)
    if check:
        check(user)
    keep_an_admin(admins, user)
    User.delete().where(User.id == user.id).execute()
    feed.publish("user.deleted", user.id, {"id": user.id})
    audit(kind, user.id)


def lock_admins() -> set[str]:
    """Return the admins who can act, none of whom changes until the transaction ends.

    Whoever takes an admin's rights away comes here first: of two who want each other's, one waits and then sees
    what the other did. SQLite lets in one writer at a time anyway.
    """
    query = User.select(User.id).where(User.acts_as_admin()).order_by(User.id)
    return {user.id for user in (query.for_update() if is_postgres(database) else query)}


def keep_an_admin(admins: set[str], user: User) -> None:
    """Raise CONFLICT when the user is the only admin."""
    if admins == {user.id}:
        raise Problem("CONFLICT", "The last admin can be neither removed nor demoted nor suspended.")
