"""Posts: list, read, write."""

from typing import Any

from flask import Response

from services.posts import post_queries, post_responses, posts
from services.posts.access import may_edit, own_post, visible_post
from services.posts.cache_tags import invalidate
from services.posts.models import database, idempotency
from services.posts.schemas import (
    PostChangeSchema,
    PostCreateSchema,
    PostItemSchema,
    PostQuerySchema,
    PostReplaceSchema,
    PostSchema,
)
from shared.ids import is_id
from shared.problems import Problem
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.html_forms import takes_form

blp = Blueprint("posts", __name__, url_prefix="/api/posts", description="What users write")


@blp.route("", methods=["GET"])
@blp.arguments(PostQuerySchema, location="query")
@blp.response(200, PostItemSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List posts, the newest first; with `q` those that have all its words, the best first.

    Those of another status than published are the caller's own; moderators may name another author.
    """
    return post_responses.list_response(args)


@blp.route("", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED")
@signed_in()
@blp.arguments(PostCreateSchema, location="json_or_form")
@idempotency.accepts_key
@blp.response(201, PostSchema)
def create(data: dict[str, Any]) -> Response:
    """Write a post, as a draft unless its status says published."""
    with database.atomic():
        post_id = posts.create_post(require_user(), data)
        return invalidate(
            post_responses.post_response(post_queries.one_post(post_id), 201, {"Location": f"/api/posts/{post_id}"}),
            post_id,
        )


@blp.route("/<key>", methods=["GET"])
@blp.response(200, PostSchema)
def read(key: str) -> Response:
    """Read a post by its id or slug; drafts and archived posts are their author's and the moderators'."""
    return post_responses.view_response(visible_post(key))


@blp.route("/<post_id>", methods=["PUT"])
@blp.problems("FORBIDDEN", "CONFLICT")
@signed_in()
@blp.arguments(PostReplaceSchema, location="json_or_form")
@blp.response(200, PostSchema)
def replace(data: dict[str, Any], post_id: str) -> Response:
    """Replace what can be written of a post; what is left out is cleared."""
    return post_responses.edit(post_id, data)


@blp.route("/<post_id>", methods=["PATCH"])
@blp.problems("FORBIDDEN", "CONFLICT")
@signed_in()
@blp.arguments(PostChangeSchema, location="json_or_form")
@blp.response(200, PostSchema)
def change(data: dict[str, Any], post_id: str) -> Response:
    """Change what the body names."""
    return post_responses.edit(post_id, data)


@blp.route("/<post_id>", methods=["DELETE"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.response(204)
@takes_form
def delete(post_id: str) -> Response:
    """Delete a post; it can be restored."""
    return post_responses.delete(post_id)


@blp.route("/<post_id>/restore", methods=["POST"])
@blp.problems("FORBIDDEN", "CONFLICT")
@signed_in()
@blp.response(200, PostSchema)
def restore(post_id: str) -> Response:
    """Bring a deleted post back as it was; one that is not deleted stays as it is."""
    with database.atomic():
        post = posts.locked_post(post_id, deleted=True) if is_id(post_id) else None
        if post is None:
            return invalidate(post_responses.post_response(post_queries.one_post(own_post(post_id).id)), post_id)
        if not may_edit(require_user(), post.author_id) or post.author.deleted:
            raise Problem("NOT_FOUND")
        posts.restore_post(post)
        return invalidate(post_responses.post_response(post_queries.one_post(post_id)), post_id)
