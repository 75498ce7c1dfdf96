"""Answer a search by page or by cursor."""

from typing import Any

from services.posts import hot, lists, ranking, search
from services.posts.lists import Row
from services.posts.schemas import NEWEST, RELEVANCE
from shared.pagination import paginate, read_cursor, set_place, write_cursor


def find(args: dict[str, Any], filter: lists.Filter) -> list[Row]:
    """Return the posts of one page of a search, the best or the newest first; the envelope is filled in."""
    question = search.Question(args["q"], lists.labels(filter))
    sort = args.get("sort", RELEVANCE)
    if sort not in (RELEVANCE, NEWEST):
        return paginate(lists.among(question.newest(search.END, search.MAX_FOUND + 1)), lists.LISTED[sort], args)
    label, limit, cursor = f"search by {sort}", args["limit"], args.get("cursor")
    score, publication = read_cursor(label, cursor) if cursor else ranking.FIRST
    skipped = 0 if cursor else (args.get("page", 1) - 1) * limit
    wanted = skipped + limit + 1 if skipped < search.MAX_FOUND else 0
    if sort == RELEVANCE:
        found, matches = ranking.best(question, (score, publication), wanted)
    else:
        found, _ = question.count()
        matches = [(0, match) for match in question.newest(publication, wanted)]
    page = matches[skipped : skipped + limit]
    following = write_cursor(label, list(page[-1])) if page and len(matches) == wanted else None
    set_place(args, min(found, search.MAX_FOUND), found <= search.MAX_FOUND, following)
    return hot.found([match for _, match in page])
