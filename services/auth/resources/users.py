"""Public profiles."""

from typing import Any

from flask import Response

from services.auth import accounts
from services.auth.schemas import PublicUserSchema
from shared.api import Blueprint
from shared.etag import tagged
from shared.ids import is_id
from shared.problems import Problem

blp = Blueprint("users", __name__, url_prefix="/api/users", description="Public profiles")


@blp.route("/<user_id>", methods=["GET"])
@blp.response(200, PublicUserSchema)
def show(user_id: str) -> Response:
    """Show what everybody may know of a user."""
    if not is_id(user_id):
        raise Problem("NOT_FOUND")
    user = accounts.by_id(user_id)
    profile: Any = PublicUserSchema().dump(user)
    return tagged(user.version, profile)
