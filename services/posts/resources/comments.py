"""Comments on posts."""

from typing import Any

from flask import Response, current_app

from services.posts import commenting, lists
from services.posts.items import comment_item, comment_tree
from services.posts.models import DELETED, HIDDEN, VISIBLE, Comment, database, idempotency
from services.posts.resources.posts import may_edit, visible_post_of_id
from services.posts.schemas import (
    CommentChangeSchema,
    CommentCreateSchema,
    CommentQuerySchema,
    CommentSchema,
    HiddenQuerySchema,
)
from services.posts.sharing import about_post, share, touch
from shared import clock
from shared.api import Blueprint, no_content, respond
from shared.auth import current_user, require_user, signed_in
from shared.etag import require_match, tagged
from shared.ids import is_id
from shared.pagination import paginate
from shared.problems import Problem

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
        lists.comments_of(post.number), lists.EARLIEST_COMMENT, args, lambda: lists.number_of_comments(post.number)
    )
    return share(respond([_item(row) for row in rows]), (row.author_id for row in rows), about_post(post.id))


def _trees(args: dict[str, Any], post: lists.Row) -> Response:
    roots = paginate(lists.roots_of(post.number), lists.EARLIEST_COMMENT, args)
    replies = lists.replies_to(post.number, [row.number for row in roots])
    rows = [*roots, *replies]
    tree = comment_tree([_item(row) for row in rows])
    return share(respond(tree), (row.author_id for row in rows), about_post(post.id))


@blp.route("/posts/<post_id>/comments", methods=["POST"])
@signed_in()
@blp.arguments(CommentCreateSchema, location="json_or_form")
@idempotency.accepts_key
@blp.response(201, CommentSchema)
def create(data: dict[str, Any], post_id: str) -> Response:
    """Comment on a post or, with `parentId`, on another comment."""
    limited = current_app.extensions["postern.config"].ratelimit_enabled
    comment_id = commenting.create(require_user(), visible_post_of_id(post_id), data, limited=limited)
    return touch(tagged(1, _body(comment_id), 201, {"Location": f"/api/comments/{comment_id}"}), post_id)


@blp.route("/comments/<comment_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(CommentChangeSchema)
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
        commenting.change(comment, wanted["content"], wanted["status"])
        return touch(tagged(comment.version, _body(comment_id)), post.id)


@blp.route("/comments/<comment_id>", methods=["DELETE"])
@signed_in()
@blp.response(204)
def delete(comment_id: str) -> Response:
    """Delete a comment: its writer, the post's author and moderators may."""
    with database.atomic():
        comment, post = _comment(comment_id)
        if require_user().user_id != comment.author_id and not may_edit(require_user(), post.author_id):
            raise Problem("FORBIDDEN", "This is somebody else's comment on somebody else's post.")
        require_match(comment.version, {}, {}, lambda: _body(comment_id))
        commenting.delete(comment)
    return touch(no_content(), post.id)


@blp.route("/admin/comments", methods=["GET"])
@signed_in("moderator")
@blp.arguments(HiddenQuerySchema, location="query")
@blp.response(200, CommentSchema(many=True))
def queue(args: dict[str, Any]) -> Response:
    """List the comments of a status on all posts, the latest first."""
    rows = paginate(lists.comments_with(args["status"]), lists.LATEST_COMMENT, args)
    return respond([_item(row) for row in rows])


def _comment(comment_id: str) -> tuple[Comment, lists.Row]:
    """Return a comment, locked, with its post; raise NOT_FOUND unless the caller may see the post."""
    comment = commenting.locked(comment_id) if is_id(comment_id) else None
    if comment is None:
        raise Problem("NOT_FOUND")
    return comment, visible_post_of_id(lists.post_id(comment.post_id))


def _check_editable(comment: Comment) -> None:
    if comment.author_id != require_user().user_id:
        raise Problem("FORBIDDEN", "This is somebody else's comment.")
    if clock.now() - comment.created_at > commenting.EDITABLE:
        raise Problem("FORBIDDEN", "A comment can be edited for 15 minutes.")


def _may_read(status: str, author_id: str) -> bool:
    """Tell whether the caller may read what a comment says: a hidden one only its writer and moderators."""
    return status == VISIBLE or (status == HIDDEN and may_edit(current_user(), author_id))


def _item(row: lists.Row) -> dict[str, Any]:
    return comment_item(row, readable=row.status != DELETED and _may_read(row.status, row.author_id))


def _body(comment_id: str) -> dict[str, Any]:
    return _item(lists.comments().where(Comment.id == comment_id).first())
