"""Public profiles, and the accounts that admins create, change and delete."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response

from services.auth import account_admin, accounts, passwords
from services.auth.account_admin import Check
from services.auth.models import User, database, idempotency
from services.auth.revocation import end_sessions_here, end_tokens_here
from services.auth.schemas import (
    AdminUserSchema,
    PublicUserSchema,
    UserChangeSchema,
    UserQuerySchema,
    UserReplaceSchema,
    admin_item,
    public_item,
)
from services.auth.user_list import list_users
from shared import clock
from shared.ids import id_or_404
from shared.server.admission import expensive
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.responses import no_content, respond

blp = Blueprint("users", __name__, url_prefix="/api/users", description="Public profiles, and accounts for admins")


def hashed(view: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the password by its hash before the transaction of a view begins, since hashing is slow."""

    @wraps(view)
    def with_hash(data: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if "password" in data:
            passwords.check_new(data["password"], data.get("name", ""), data.get("email", ""))
            data["password_hash"] = passwords.hash_password(data.pop("password"))
        return view(data, *args, **kwargs)

    return with_hash


@blp.route("", methods=["GET"])
@signed_in("admin")
@blp.arguments(UserQuerySchema, location="query")
@blp.response(200, AdminUserSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List accounts, as `GET /api/admin/users` does."""
    return respond(list_users(args))


@blp.route("", methods=["POST"])
@blp.problems("EMAIL_TAKEN", "CONFLICT", "IDEMPOTENCY_KEY_REUSED")
@expensive
@signed_in("admin")
@blp.arguments(UserReplaceSchema)
@hashed
@idempotency.accepts_key
@blp.response(201, AdminUserSchema)
def create(data: dict[str, Any]) -> Response:
    """Create an account; without a password the user sets one by the mailed link."""
    with database.atomic():
        user = account_admin.create(data["name"], data["email"], data.get("password_hash"), data["role"])
    return tagged(user.version, admin_item(user), 201, {"Location": f"/api/users/{user.id}"})


@blp.route("/<user_id>", methods=["GET"])
@blp.response(200, PublicUserSchema)
def show(user_id: str) -> Response:
    """Return the public profile of a user."""
    user = accounts.by_id(id_or_404(user_id))
    return tagged(user.version, public_item(user))


@blp.route("/<user_id>", methods=["PUT"])
@blp.problems("EMAIL_TAKEN", "CONFLICT")
@expensive
@signed_in("admin")
@blp.arguments(UserReplaceSchema)
@hashed
@blp.response(200, AdminUserSchema)
def replace(data: dict[str, Any], user_id: str) -> Response:
    """Replace an account; a missing password stays."""
    return change_account(user_id, data)


@blp.route("/<user_id>", methods=["PATCH"])
@blp.problems("EMAIL_TAKEN", "CONFLICT")
@expensive
@signed_in("admin")
@blp.arguments(UserChangeSchema)
@hashed
@blp.response(200, AdminUserSchema)
def update(data: dict[str, Any], user_id: str) -> Response:
    """Change some fields of an account."""
    return change_account(user_id, data)


@blp.route("/<user_id>", methods=["DELETE"])
@blp.problems("CONFLICT")
@signed_in("admin")
@blp.response(204)
def delete(user_id: str) -> Response:
    """Delete an account irrevocably; 409 for the last admin."""
    now = clock.now()
    with database.atomic():
        account_admin.delete(id_or_404(user_id), "user_deleted", _matches({}))
    end_tokens_here(user_id, now)
    return no_content()


def change_account(user_id: str, changes: dict[str, Any]) -> Response:
    """Change an account and return it; ended sessions and tokens are revoked in this process at once."""
    now = clock.now()
    with database.atomic():
        session_id = require_user().session_id
        changed = account_admin.change(id_or_404(user_id), changes, now, _matches(changes), session_id)
    end_sessions_here(changed.sessions, now)
    if changed.tokens_ended:
        end_tokens_here(user_id, now)
    return tagged(changed.user.version, admin_item(changed.user))


def _matches(wanted: dict[str, Any]) -> Check:
    def check(user: User) -> None:
        shown = {name: value for name, value in wanted.items() if name != "password_hash"}
        require_match(user.version, {name: getattr(user, name) for name in shown}, shown, lambda: public_item(user))

    return check
