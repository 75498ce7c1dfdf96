"""Posts: list, read, write."""

from typing import Any

from flask import Response, request

from services.posts import post_queries, posts
from services.posts.access import may_edit, own_post, visible_post
from services.posts.cache_tags import ALL_LISTS, share, share_post, touch
from services.posts.config import Config
from services.posts.models import PUBLISHED, database, idempotency
from services.posts.post_queries import Row
from services.posts.schemas import (
    NEWEST,
    PostChangeSchema,
    PostCreateSchema,
    PostItemSchema,
    PostQuerySchema,
    PostReplaceSchema,
    PostSchema,
)
from services.posts.search import query as finding
from services.posts.search.highlight import Highlighter
from services.posts.search.tokenizer import terms
from services.posts.serializers import post_item, whole_post
from services.posts.view_counts import ViewCounter
from shared.client_address import client_address
from shared.database.pagination import paginate
from shared.ids import is_id
from shared.problems import Problem
from shared.service import current_service
from shared.web.auth import current_user, require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.html_forms import takes_form
from shared.web.prefetch import is_prefetch
from shared.web.responses import no_content, respond

blp = Blueprint("posts", __name__, url_prefix="/api/posts", description="What users write")


@blp.route("", methods=["GET"])
@blp.arguments(PostQuerySchema, location="query")
@blp.response(200, PostItemSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List posts, the newest first; with `q` those that have all its words, the best first.

    Those of another status than published are the caller's own; moderators may name another author.
    """
    return show_list(args)


def show_list(args: dict[str, Any]) -> Response:
    """Answer one page of a list of posts."""
    items = _found(args)
    return share(respond(items), (item["author"]["id"] for item in items), ALL_LISTS)


def _found(args: dict[str, Any]) -> list[dict[str, Any]]:
    filter = post_queries.Filter(args.get("author"), tuple(args["tag"]), args.get("category"))
    current_user()  # a bad bearer token is refused
    if "q" in args:
        return _highlighted(args, finding.find(args, filter))
    return _items(_listed(args, filter) if args["status"] == PUBLISHED else _kept(args, filter))


def _items(rows: list[Row]) -> list[dict[str, Any]]:
    public_url = _public_url()
    return [post_item(row, public_url) for row in rows]


def _highlighted(args: dict[str, Any], rows: list[Row]) -> list[dict[str, Any]]:
    """Return what was found with, where it is wanted, the words marked."""
    items = _items(rows)
    if args["highlight"]:
        highlighter, contents = Highlighter(terms(args["q"])), post_queries.contents(rows)
        for row, item in zip(rows, items, strict=True):
            title, content = highlighter.whole(row.title), highlighter.snippet(contents[row.number])
            item["highlight"] = {"title": title, "content": content}
    return items


def _listed(args: dict[str, Any], filter: post_queries.Filter) -> list[Row]:
    sort = args.get("sort", NEWEST)
    if filter == post_queries.Filter():
        return post_queries.listed_page(sort, args)
    return paginate(*post_queries.chosen(filter, sort), args, post_queries.kept_total(filter))


def _kept(args: dict[str, Any], filter: post_queries.Filter) -> list[Row]:
    caller = require_user()
    query = filter.on(post_queries.kept(args["status"], list(filter.tags)))
    if not (filter.author and caller.has_role("moderator")):
        query = query.where(post_queries.written_by(caller.user_id))
    return paginate(query, post_queries.KEPT[args.get("sort", NEWEST)], args)


@blp.route("", methods=["POST"])
@signed_in()
@blp.arguments(PostCreateSchema, location="json_or_form")
@idempotency.accepts_key
@blp.response(201, PostSchema)
def create(data: dict[str, Any]) -> Response:
    """Write a post, as a draft unless its status says published."""
    with database.atomic():
        post_id = posts.create_post(require_user(), data)
        return touch(_answer(post_queries.one_post(post_id), 201, {"Location": f"/api/posts/{post_id}"}), post_id)


@blp.route("/<key>", methods=["GET"])
@blp.response(200, PostSchema)
def read(key: str) -> Response:
    """Read a post by its id or slug; drafts and archived posts are their author's and the moderators'."""
    return show(visible_post(key))


def show(row: Row) -> Response:
    """Answer one post, and count the view of a client that gets to see it."""
    response = _answer(row)
    if not row.listed_at:
        return response
    if request.method == "GET" and response.status_code == 200 and not is_prefetch(request.environ):
        current_service().get(ViewCounter).note(row.number, _viewer())
    return share_post(response, row.id, row.author_id)


def _viewer() -> str:
    """Return who looks: the user, else the client's address, which the gateway tells."""
    caller = current_user()
    return caller.user_id if caller else client_address(request.environ)


@blp.route("/<post_id>", methods=["PUT"])
@signed_in()
@blp.arguments(PostReplaceSchema, location="json_or_form")
@blp.response(200, PostSchema)
def replace(data: dict[str, Any], post_id: str) -> Response:
    """Replace what can be written of a post; what is left out is cleared."""
    return edit(post_id, data)


@blp.route("/<post_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(PostChangeSchema, location="json_or_form")
@blp.response(200, PostSchema)
def change(data: dict[str, Any], post_id: str) -> Response:
    """Change what the body names."""
    return edit(post_id, data)


@blp.route("/<post_id>", methods=["DELETE"])
@signed_in()
@blp.response(204)
@takes_form
def delete(post_id: str) -> Response:
    """Delete a post; it can be restored."""
    return remove(post_id)


def remove(post_id: str) -> Response:
    """Delete a post that the caller may edit."""
    with database.atomic():
        post = own_post(post_id)
        require_match(post.version, {}, {}, lambda: _body(post_queries.one_post(post_id)))
        posts.delete_post(post)
    return touch(no_content(), post_id)


@blp.route("/<post_id>/restore", methods=["POST"])
@signed_in()
@blp.response(200, PostSchema)
def restore(post_id: str) -> Response:
    """Bring a deleted post back as it was; one that is not deleted stays as it is."""
    with database.atomic():
        post = posts.locked_post(post_id, deleted=True) if is_id(post_id) else None
        if post is None:
            return touch(_answer(post_queries.one_post(own_post(post_id).id)), post_id)
        if not may_edit(require_user(), post.author_id) or post.author.deleted:
            raise Problem("NOT_FOUND")
        posts.restore_post(post)
        return touch(_answer(post_queries.one_post(post_id)), post_id)


def edit(post_id: str, data: dict[str, Any]) -> Response:
    """Change a post that the caller may edit."""
    with database.atomic():
        post = own_post(post_id)
        current = posts.fields_of(post)
        require_match(post.version, current, data, lambda: _body(post_queries.one_post(post_id)))
        posts.change_post(post, current, data)
        return touch(_answer(post_queries.one_post(post_id)), post_id)


def _answer(row: Row, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return tagged(row.version, _body(row), status, headers)


def _body(row: Row) -> dict[str, Any]:
    return whole_post(row, _public_url())


def _public_url() -> str:
    return str(current_service().get(Config).public_url)
