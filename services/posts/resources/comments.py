"""Comments on posts."""

from typing import Any

from flask import Response

from services.posts import editing, lists
from services.posts.models import Comment, idempotency
from services.posts.resources.posts import visible_post
from services.posts.schemas import CommentCreateSchema, CommentSchema, comment_item
from services.posts.sharing import about_post, share, touch
from shared.api import Blueprint, respond
from shared.auth import require_user, signed_in
from shared.etag import tagged
from shared.ids import is_id
from shared.pagination import PageQuerySchema, paginate
from shared.problems import Problem

blp = Blueprint("comments", __name__, url_prefix="/api", description="What readers say to posts")


@blp.route("/posts/<post_id>/comments", methods=["GET"])
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, CommentSchema(many=True))
def index(args: dict[str, Any], post_id: str) -> Response:
    """List the comments on a post, the earliest first."""
    post = _post(post_id)
    rows = paginate(lists.comments_of(post.number), lists.EARLIEST_COMMENT, args, lambda: int(post.comment_count))
    return share(respond([comment_item(row, post_id) for row in rows]), rows, about_post(post_id))


@blp.route("/posts/<post_id>/comments", methods=["POST"])
@signed_in()
@blp.arguments(CommentCreateSchema)
@idempotency.accepts_key
@blp.response(201, CommentSchema)
def create(data: dict[str, Any], post_id: str) -> Response:
    """Comment on a post or, with `parentId`, on another comment."""
    post = _post(post_id)
    comment_id = editing.create_comment(require_user(), post.number, data)
    row = lists.comments_of(post.number).where(Comment.id == comment_id).first()
    return touch(tagged(1, comment_item(row, post_id), 201, {"Location": f"/api/comments/{comment_id}"}), post_id)


def _post(post_id: str) -> lists.Row:
    if not is_id(post_id):
        raise Problem("NOT_FOUND")
    return visible_post(post_id)
