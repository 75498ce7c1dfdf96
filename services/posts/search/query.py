"""Answer a search by page or by cursor."""

from typing import Any

from services.posts import post_queries
from services.posts.post_queries import Row
from services.posts.schemas import NEWEST, RELEVANCE
from services.posts.search import index, ranking
from shared.database.pagination import paginate, read_cursor, set_place, write_cursor


def find(args: dict[str, Any], filter: post_queries.Filter) -> list[Row]:
    """Return the posts of one page of a search, the best or the newest first; the envelope is filled in."""
    question = index.SearchQuery(args["q"], post_queries.labels(filter))
    sort = args.get("sort", RELEVANCE)
    if sort not in (RELEVANCE, NEWEST):
        return paginate(
            post_queries.among(question.newest(index.END, index.MAX_FOUND + 1)), post_queries.LISTED[sort], args
        )
    label, limit, cursor = f"search by {sort}", args["limit"], args.get("cursor")
    score, publication = read_cursor(label, cursor) if cursor else ranking.FIRST
    skipped = 0 if cursor else (args.get("page", 1) - 1) * limit
    wanted = skipped + limit + 1 if skipped < index.MAX_FOUND else 0
    if sort == RELEVANCE:
        found, matches = ranking.best(question, (score, publication), wanted)
    else:
        found, _ = question.count()
        matches = [(0, match) for match in question.newest(publication, wanted)]
    page = matches[skipped : skipped + limit]
    following = write_cursor(label, list(page[-1])) if page and len(matches) == wanted else None
    set_place(args, min(found, index.MAX_FOUND), found <= index.MAX_FOUND, following)
    return post_queries.found_posts([match for _, match in page])
