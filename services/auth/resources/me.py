"""One's own account."""

from typing import Any

from flask import Response

from services.auth import accounts
from services.auth.models import User, database
from services.auth.schemas import MeUpdateSchema, UserSchema, user_item
from shared.api import Blueprint
from shared.auth import require_user, signed_in
from shared.etag import require_match, tagged
from shared.problems import Problem

blp = Blueprint("me", __name__, url_prefix="/api/auth/me", description="One's own account")


@blp.route("", methods=["GET"])
@signed_in()
@blp.response(200, UserSchema)
def show() -> Response:
    """Show one's own account."""
    user = _me()
    return tagged(user.version, user_item(user))


@blp.route("", methods=["PATCH"])
@signed_in()
@blp.arguments(MeUpdateSchema)
@blp.response(200, UserSchema)
def update(changes: dict[str, Any]) -> Response:
    """Change one's name, bio or avatar (the id of an upload)."""
    with database.atomic():
        user = _me(lock=True)
        current = {"name": user.name, "bio": user.profile.bio, "avatar": user.profile.avatar}
        require_match(user.version, current, changes, lambda: user_item(user))
        user = accounts.update_profile(user, changes)
    return tagged(user.version, user_item(user))


def _me(*, lock: bool = False) -> User:
    """Return the caller's account; a token may outlive a deleted one for moments."""
    try:
        return accounts.by_id(require_user().user_id, lock=lock)
    except Problem as problem:
        if problem.code != "NOT_FOUND":
            raise
        raise Problem("UNAUTHORIZED", "The account does not exist.") from problem
