"""Posts: list, read, write."""

from typing import Any

from flask import Response, current_app

from services.posts import editing, lists, slugs
from services.posts.lists import Row
from services.posts.models import PUBLISHED, Counter, Post, database, idempotency
from services.posts.schemas import (
    PostChangeSchema,
    PostCreateSchema,
    PostItemSchema,
    PostQuerySchema,
    PostReplaceSchema,
    PostSchema,
    post_item,
    whole_post,
)
from services.posts.sharing import ALL_LISTS, about_post, share, touch
from shared.api import Blueprint, no_content, respond
from shared.auth import current_user, require_user, signed_in
from shared.etag import require_match, tagged
from shared.ids import is_id
from shared.pagination import paginate
from shared.problems import Problem
from shared.tokens import Claims

blp = Blueprint("posts", __name__, url_prefix="/api/posts", description="What users write")


@blp.route("", methods=["GET"])
@blp.arguments(PostQuerySchema, location="query")
@blp.response(200, PostItemSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List posts, the newest first.

    Those of another status than published are the caller's own; moderators may name another author.
    """
    caller = current_user()
    rows = _listed(args) if args["status"] == PUBLISHED else _kept(args, caller)
    public_url = _public_url()
    return share(respond([post_item(row, public_url) for row in rows]), rows, ALL_LISTS)


def _listed(args: dict[str, Any]) -> list[Row]:
    author, tags = args.get("author"), args["tag"]
    query, order = (lists.listed_with(tags), lists.NEWEST_OF_TAG) if tags else (lists.listed(), lists.NEWEST)
    if author:
        query = query.where(lists.written_by(author))
    unfiltered = not (author or tags)
    return paginate(query, order, args, Counter.listed_posts if unfiltered else None)


def _kept(args: dict[str, Any], caller: Claims | None) -> list[Row]:
    if caller is None:
        raise Problem("UNAUTHORIZED")
    author = args.get("author")
    query = lists.kept(args["status"], args["tag"])
    if author:
        query = query.where(lists.written_by(author))
    if not (author and caller.has_role("moderator")):
        query = query.where(lists.written_by(caller.user_id))
    return paginate(query, lists.LAST_CREATED, args)


@blp.route("", methods=["POST"])
@signed_in()
@blp.arguments(PostCreateSchema)
@idempotency.accepts_key
@blp.response(201, PostSchema)
def create(data: dict[str, Any]) -> Response:
    """Write a post, as a draft unless its status says published."""
    post_id = editing.create_post(require_user(), data)
    return touch(_answer(lists.one_post(post_id), 201, {"Location": f"/api/posts/{post_id}"}), post_id)


@blp.route("/<key>", methods=["GET"])
@blp.response(200, PostSchema)
def read(key: str) -> Response:
    """Read a post by its id or slug; drafts and archived posts are their author's and the moderators'."""
    post = visible_post(key)
    return share(_answer(post), [post], about_post(post.id))


@blp.route("/<post_id>", methods=["PUT"])
@signed_in()
@blp.arguments(PostReplaceSchema)
@blp.response(200, PostSchema)
def replace(data: dict[str, Any], post_id: str) -> Response:
    """Replace what can be written of a post; what is left out is cleared."""
    return _edit(post_id, data)


@blp.route("/<post_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(PostChangeSchema)
@blp.response(200, PostSchema)
def change(data: dict[str, Any], post_id: str) -> Response:
    """Change what the body names."""
    return _edit(post_id, data)


@blp.route("/<post_id>", methods=["DELETE"])
@signed_in()
@blp.response(204)
def delete(post_id: str) -> Response:
    """Delete a post; moderators can bring it back."""
    with database.atomic():
        post = _own_post(post_id)
        require_match(post.version, {}, {}, lambda: _body(lists.one_post(post_id)))
        editing.delete_post(post)
    return touch(no_content(), post_id)


def visible_post(key: str) -> Row:
    """Return the post of an id or slug when the caller may see it; raise NOT_FOUND."""
    if not slugs.may_be_slug(key):
        raise Problem("NOT_FOUND")
    row = lists.one_post(key)
    _check_visible(row.status, row.author_id)
    return row


def _check_visible(status: str, author_id: str) -> None:
    caller = current_user()
    if status != PUBLISHED and not _may_edit(caller, author_id):
        raise Problem("NOT_FOUND")


def _may_edit(caller: Claims | None, author_id: str) -> bool:
    return caller is not None and (caller.user_id == author_id or caller.has_role("moderator"))


def _own_post(post_id: str) -> Post:
    """Return the post, locked, when the caller may edit it; raise NOT_FOUND or FORBIDDEN."""
    post = editing.locked_post(post_id) if is_id(post_id) else None
    if post is None:
        raise Problem("NOT_FOUND")
    _check_visible(post.status, post.author_id)
    if not _may_edit(require_user(), post.author_id):
        raise Problem("FORBIDDEN", "This is somebody else's post.")
    return post


def _edit(post_id: str, data: dict[str, Any]) -> Response:
    with database.atomic():
        post = _own_post(post_id)
        current = editing.fields_of(post)
        require_match(post.version, current, data, lambda: _body(lists.one_post(post_id)))
        editing.change_post(post, current, data)
        return touch(_answer(lists.one_post(post_id)), post_id)


def _answer(row: Row, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return tagged(row.version, _body(row), status, headers)


def _body(row: Row) -> dict[str, Any]:
    return whole_post(row, _public_url())


def _public_url() -> str:
    return str(current_app.extensions["postern.config"].public_url)
