"""The posts of one user, under the user's address."""

from typing import Any

from flask import Response

from services.posts import post_responses
from services.posts.access import visible_post_of_id
from services.posts.post_queries import Row
from services.posts.schemas import (
    PostChangeSchema,
    PostItemSchema,
    PostQuerySchema,
    PostReplaceSchema,
    PostSchema,
)
from shared.ids import id_or_404
from shared.problems import Problem
from shared.web.auth import signed_in
from shared.web.blueprint import Blueprint

blp = Blueprint("user posts", __name__, url_prefix="/api/users/<user_id>/posts", description="What one user writes")


@blp.route("", methods=["GET"])
@blp.arguments(PostQuerySchema(exclude=("author",)), location="query")
@blp.response(200, PostItemSchema(many=True))
def index(args: dict[str, Any], user_id: str) -> Response:
    """List the user's posts."""
    return post_responses.list_response(args | {"author": id_or_404(user_id)})


@blp.route("/<post_id>", methods=["GET"])
@blp.response(200, PostSchema)
def read(user_id: str, post_id: str) -> Response:
    """Read one of the user's posts."""
    return post_responses.view_response(_own(user_id, post_id))


@blp.route("/<post_id>", methods=["PUT"])
@blp.problems("FORBIDDEN", "CONFLICT")
@signed_in()
@blp.arguments(PostReplaceSchema)
@blp.response(200, PostSchema)
def replace(data: dict[str, Any], user_id: str, post_id: str) -> Response:
    """Replace what can be written of one of the user's posts."""
    return post_responses.edit(_own(user_id, post_id).id, data)


@blp.route("/<post_id>", methods=["PATCH"])
@blp.problems("FORBIDDEN", "CONFLICT")
@signed_in()
@blp.arguments(PostChangeSchema)
@blp.response(200, PostSchema)
def change(data: dict[str, Any], user_id: str, post_id: str) -> Response:
    """Change what the body names of one of the user's posts."""
    return post_responses.edit(_own(user_id, post_id).id, data)


@blp.route("/<post_id>", methods=["DELETE"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.response(204)
def delete(user_id: str, post_id: str) -> Response:
    """Delete one of the user's posts."""
    return post_responses.delete(_own(user_id, post_id).id)


def _own(user_id: str, post_id: str) -> Row:
    """Return a post of that user; raise NOT_FOUND, or FORBIDDEN where it is somebody else's."""
    id_or_404(user_id)
    post = visible_post_of_id(post_id)
    if post.author_id != user_id:
        raise Problem("FORBIDDEN", "This post is not that user's.")
    return post
