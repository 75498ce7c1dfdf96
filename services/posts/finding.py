"""Answer a search by page or by cursor."""

from typing import Any

from services.posts import hot, lists, search
from services.posts.lists import Row
from services.posts.schemas import NEWEST, RELEVANCE
from shared.pagination import paginate, read_cursor, set_place, write_cursor


def find(args: dict[str, Any], filter: lists.Filter) -> list[Row]:
    """Return the posts of one page of a search, the best or the newest first; the envelope is filled in."""
    question = search.Question(args["q"], lists.labels(filter))
    found = question.newest()
    sort = args.get("sort", RELEVANCE)
    if sort not in (RELEVANCE, NEWEST):
        return paginate(lists.among(found), lists.LISTED[sort], args)
    label = f"search by {sort}"
    rest = _from(question, found, args, label)
    page = rest[: args["limit"]]
    following = write_cursor(label, list(page[-1])) if len(rest) > len(page) else None
    set_place(args, min(len(found), search.MAX_FOUND), len(found) <= search.MAX_FOUND, following)
    return hot.found([publication for _, publication in page])


def _from(question: search.Question, found: list[int], args: dict[str, Any], label: str) -> list[tuple[int, int]]:
    """Return score and publication of the matches from the wanted page on."""
    limit, cursor = args["limit"], args.get("cursor")
    place = tuple(read_cursor(label, cursor)) if cursor else None
    if args.get("sort", RELEVANCE) == RELEVANCE:
        found = found[: search.MAX_FOUND]
        order = search.ranked(found, question.scores(found))
        if place:
            return [match for match in order if match < place]
    else:
        order = [(0, publication) for publication in (question.newest(place[1], limit + 1) if place else found)]
        if place:
            return order
    return order[(args.get("page", 1) - 1) * limit :]
