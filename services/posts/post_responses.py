"""Responses that several views of posts share: a page of posts, one post, an edit and a deletion."""

from typing import Any

from flask import Response, request

from services.posts import post_queries, posts
from services.posts.access import own_post
from services.posts.cache_tags import ALL_LISTS, invalidate, share, share_post
from services.posts.models import PUBLISHED, database
from services.posts.post_queries import Row
from services.posts.schemas import NEWEST
from services.posts.search import query as search_query
from services.posts.search.highlight import Highlighter
from services.posts.search.tokenizer import terms
from services.posts.serializers import post_item, whole_post
from services.posts.view_counts import ViewCounter
from shared.client_address import client_address
from shared.database.pagination import paginate
from shared.service import current_service
from shared.web.auth import current_user, require_user
from shared.web.etag import require_match, tagged
from shared.web.prefetch import is_prefetch
from shared.web.responses import no_content, respond


def list_response(args: dict[str, Any]) -> Response:
    """Return the response with one page of posts."""
    items = _list_items(args)
    return share(respond(items), (item["author"]["id"] for item in items), ALL_LISTS)


def _list_items(args: dict[str, Any]) -> list[dict[str, Any]]:
    filter = post_queries.Filter(args.get("author"), tuple(args["tag"]), args.get("category"))
    current_user()  # a bad bearer token is refused
    if "q" in args:
        return _highlighted(args, search_query.find(args, filter))
    return _items(_listed(args, filter) if args["status"] == PUBLISHED else _unlisted(args, filter))


def _items(rows: list[Row]) -> list[dict[str, Any]]:
    public_url = current_service().public_url
    return [post_item(row, public_url) for row in rows]


def _highlighted(args: dict[str, Any], rows: list[Row]) -> list[dict[str, Any]]:
    """Return the items of a search, with `highlight` if the query asks for it."""
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
    return paginate(*post_queries.filtered(filter, sort), args, post_queries.stored_total(filter))


def _unlisted(args: dict[str, Any], filter: post_queries.Filter) -> list[Row]:
    caller = require_user()
    query = filter.on(post_queries.with_status(args["status"], list(filter.tags)))
    if not (filter.author and caller.has_role("moderator")):
        query = query.where(post_queries.written_by(caller.user_id))
    return paginate(query, post_queries.UNLISTED[args.get("sort", NEWEST)], args)


def view_response(row: Row) -> Response:
    """Return the response with one post. Count a view, unless this is a HEAD request, a 304 or a prefetch."""
    response = post_response(row)
    if not row.listed_at:
        return response
    if request.method == "GET" and response.status_code == 200 and not is_prefetch(request.environ):
        current_service().get(ViewCounter).record(row.number, _viewer())
    return share_post(response, row.id, row.author_id)


def _viewer() -> str:
    """Return the id of the user, or the address of a client who is not signed in."""
    caller = current_user()
    return caller.user_id if caller else client_address(request.environ)


def post_response(row: Row, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return tagged(row.version, _body(row), status, headers)


def _body(row: Row) -> dict[str, Any]:
    return whole_post(row, current_service().public_url)


def edit(post_id: str, data: dict[str, Any]) -> Response:
    """Change a post that the caller may edit."""
    with database.atomic():
        post = own_post(post_id)
        current = posts.fields_of(post)
        require_match(post.version, current, data, lambda: _body(post_queries.one_post(post_id)))
        posts.change_post(post, current, data)
        return invalidate(post_response(post_queries.one_post(post_id)), post_id)


def delete(post_id: str) -> Response:
    """Delete a post that the caller may edit."""
    with database.atomic():
        post = own_post(post_id)
        require_match(post.version, {}, {}, lambda: _body(post_queries.one_post(post_id)))
        posts.delete_post(post)
    return invalidate(no_content(), post_id)
