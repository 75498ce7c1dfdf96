"""The Link header of a paginated list (RFC 8288)."""

from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, g, request


def add_links(response: Response) -> Response:
    """Add the links to the other pages to the response of a list."""
    if response.status_code == 200:
        path = quote(request.path)
        kept = urlencode([pair for pair in request.args.items(multi=True) if pair[0] not in ("page", "cursor")])
        links = [f'<{_address(path, kept, change)}>; rel="{relation}"' for relation, change in _relations(g.pagination)]
        response.headers["Link"] = ", ".join(links)
    return response


def _relations(place: dict[str, Any]) -> list[tuple[str, str]]:
    page, last = place["page"], place["totalPages"]
    if page is None:
        following = [("next", f"cursor={place['nextCursor']}")] if place["hasMore"] else []
        return [("first", ""), *following]
    relations = [("first", "page=1")]
    if page > 1:
        relations.append(("prev", f"page={min(page - 1, max(last, 1))}"))
    if place["hasMore"]:
        relations.append(("next", f"page={page + 1}"))
    if place["totalIsExact"]:
        relations.append(("last", f"page={max(last, 1)}"))
    return relations


def _address(path: str, *queries: str) -> str:
    query = "&".join(filter(None, queries))
    return f"{path}?{query}" if query else path
