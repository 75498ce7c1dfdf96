"""The account of the authenticated user."""

from typing import Any

from flask import Response

from services.auth import account_admin, accounts, cookies, passwords
from services.auth.models import User, database
from services.auth.revocation import end_sessions_here, end_tokens_here
from services.auth.schemas import MeUpdateSchema, PasswordChangeSchema, PasswordProofSchema, UserSchema, user_item
from shared import clock
from shared.problems import Problem
from shared.server.admission import expensive
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.responses import no_content

blp = Blueprint("me", __name__, url_prefix="/api/auth/me", description="One's own account")


@blp.route("", methods=["GET"])
@signed_in()
@blp.response(200, UserSchema)
def show() -> Response:
    """Return the own account."""
    user = _me()
    return tagged(user.version, user_item(user))


@blp.route("", methods=["PATCH"])
@signed_in()
@blp.arguments(MeUpdateSchema)
@blp.response(200, UserSchema)
def update(changes: dict[str, Any]) -> Response:
    """Change the own name, bio or avatar (the id of an upload)."""
    with database.atomic():
        user = _me(lock=True)
        current = {"name": user.name, "bio": user.profile.bio, "avatar": user.profile.avatar}
        require_match(user.version, current, changes, lambda: user_item(user))
        user = accounts.update_profile(user, changes)
    return tagged(user.version, user_item(user))


@blp.route("", methods=["DELETE"])
@blp.problems("INVALID_CREDENTIALS", "CONFLICT")
@expensive
@signed_in()
@blp.arguments(PasswordProofSchema)
@blp.response(204)
def delete(data: dict[str, Any]) -> Response:
    """Delete the own account irrevocably; 409 for the last admin."""
    user, now = _me(), clock.now()
    accounts.require_password(user, data["password"])
    with database.atomic():
        account_admin.delete(user.id, "user_left", _unchanged)
    end_tokens_here(user.id, now)
    return cookies.forget(no_content())


@blp.route("/password", methods=["PUT"])
@blp.problems("INVALID_CREDENTIALS")
@expensive
@signed_in()
@blp.arguments(PasswordChangeSchema)
@blp.response(204)
def change_password(data: dict[str, Any]) -> Response:
    """Change the password and end all other sessions."""
    user, now = _me(), clock.now()
    accounts.require_password(user, data["old_password"])
    passwords.check_new(data["new_password"], user.name, user.email, "newPassword")
    password_hash = passwords.hash_password(data["new_password"])
    with database.atomic():
        ended = accounts.change_password(user, password_hash, require_user().session_id, now)
    end_sessions_here(ended, now)
    return no_content()


def _unchanged(user: User) -> None:
    require_match(user.version, {}, {}, lambda: user_item(user))


def _me(*, lock: bool = False) -> User:
    """Return the caller's account; an access token may outlive a deleted account by moments."""
    try:
        return accounts.by_id(require_user().user_id, lock=lock)
    except Problem as problem:
        if problem.code != "NOT_FOUND":
            raise
        raise Problem("UNAUTHORIZED", "The account does not exist.") from problem
