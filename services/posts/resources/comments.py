"""Comments on posts."""

from typing import Any

from flask import Response

from services.posts import comments, post_queries
from services.posts.access import may_edit, visible_post_of_id
from services.posts.cache_tags import invalidate, post_tag_name, share
from services.posts.config import Config
from services.posts.models import DELETED, HIDDEN, VISIBLE, Comment, database, idempotency
from services.posts.schemas import (
    CommentChangeSchema,
    CommentCreateSchema,
    CommentQuerySchema,
    CommentSchema,
    HiddenQuerySchema,
)
from services.posts.serializers import comment_item, comment_tree
from shared import clock
from shared.database.pagination import paginate
from shared.ids import id_or_404
from shared.problems import Problem
from shared.service import current_service
from shared.web.auth import current_user, require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.html_forms import takes_form
from shared.web.responses import no_content, respond

blp = Blueprint("comments", __name__, url_prefix="/api", description="What readers say to posts")


@blp.route("/posts/<post_id>/comments", methods=["GET"])
@blp.arguments(CommentQuerySchema, location="query")
@blp.response(200, CommentSchema(many=True))
def index(args: dict[str, Any], post_id: str) -> Response:
    """List the comments on a post, the earliest first; as trees, a page is of those that answer no other."""
    post = visible_post_of_id(post_id)
    if args["tree"]:
        return _trees(args, post)
    rows = paginate(
        post_queries.comments_of(post.number),
        post_queries.EARLIEST_COMMENT,
        args,
        Comment.select().where(Comment.post == post.number).count,
    )
    return share(respond([_item(row) for row in rows]), (row.author_id for row in rows), post_tag_name(post.id))


def _trees(args: dict[str, Any], post: post_queries.Row) -> Response:
    roots = paginate(post_queries.roots_of(post.number), post_queries.EARLIEST_COMMENT, args)
    replies = post_queries.replies_to(post.number, [row.number for row in roots])
    rows = [*roots, *replies]
    tree = comment_tree([_item(row) for row in rows])
    return share(respond(tree), (row.author_id for row in rows), post_tag_name(post.id))


@blp.route("/posts/<post_id>/comments", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED")
@signed_in()
@blp.arguments(CommentCreateSchema, location="json_or_form")
@idempotency.accepts_key
@blp.response(201, CommentSchema)
def create(data: dict[str, Any], post_id: str) -> Response:
    """Comment on a post or, with `parentId`, on another comment."""
    limited = current_service().get(Config).ratelimit_enabled
    comment_id = comments.create(require_user(), visible_post_of_id(post_id), data, limited=limited)
    return invalidate(tagged(1, _body(comment_id), 201, {"Location": f"/api/comments/{comment_id}"}), post_id)


@blp.route("/comments/<comment_id>", methods=["PATCH"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.arguments(CommentChangeSchema, location="json_or_form")
@blp.response(200, CommentSchema)
def change(data: dict[str, Any], comment_id: str) -> Response:
    """Edit one's own comment within 15 minutes; hide or show one, as a moderator."""
    with database.atomic():
        comment, post = _comment(comment_id)
        if "content" in data:
            _check_editable(comment)
        if "status" in data:
            require_user("moderator")
        current = {"content": comment.content, "status": comment.status}
        require_match(comment.version, current, data, lambda: _body(comment_id))
        wanted = current | data
        comments.change(comment, wanted["content"], wanted["status"])
        return invalidate(tagged(comment.version, _body(comment_id)), post.id)


@blp.route("/comments/<comment_id>", methods=["DELETE"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.response(204)
@takes_form
def delete(comment_id: str) -> Response:
    """Delete a comment: its writer, the post's author and moderators may."""
    with database.atomic():
        comment, post = _comment(comment_id)
        if require_user().user_id != comment.author_id and not may_edit(require_user(), post.author_id):
            raise Problem("FORBIDDEN", "This is somebody else's comment on somebody else's post.")
        require_match(comment.version, {}, {}, lambda: _body(comment_id))
        comments.delete(comment)
    return invalidate(no_content(), post.id)


@blp.route("/admin/comments", methods=["GET"])
@signed_in("moderator")
@blp.arguments(HiddenQuerySchema, location="query")
@blp.response(200, CommentSchema(many=True))
def queue(args: dict[str, Any]) -> Response:
    """List the comments of a status on all posts, the latest first."""
    rows = paginate(post_queries.comments_with(args["status"]), post_queries.LATEST_COMMENT, args)
    return respond([_item(row) for row in rows])


def _comment(comment_id: str) -> tuple[Comment, post_queries.Row]:
    """Return a comment, locked, with its post; raise NOT_FOUND unless the caller may see the post."""
    comment = comments.locked(id_or_404(comment_id))
    if comment is None:
        raise Problem("NOT_FOUND")
    return comment, visible_post_of_id(post_queries.post_id(comment.post_id))


def _check_editable(comment: Comment) -> None:
    if comment.author_id != require_user().user_id:
        raise Problem("FORBIDDEN", "This is somebody else's comment.")
    if clock.now() - comment.created_at > comments.EDIT_WINDOW:
        raise Problem("FORBIDDEN", f"A comment can be edited for {comments.EDIT_WINDOW.seconds // 60} minutes.")


def _may_read(status: str, author_id: str) -> bool:
    """Tell whether the caller may read what a comment says: a hidden one only its writer and moderators."""
    return status == VISIBLE or (status == HIDDEN and may_edit(current_user(), author_id))


def _item(row: post_queries.Row) -> dict[str, Any]:
    return comment_item(row, readable=row.status != DELETED and _may_read(row.status, row.author_id))


def _body(comment_id: str) -> dict[str, Any]:
    return _item(post_queries.comments().where(Comment.id == comment_id).first())
