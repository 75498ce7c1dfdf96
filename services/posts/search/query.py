"""Answer a search by page or by cursor.

Example: `q=lamp&limit=20` asks the index for 21 publications, the best first. It then reads the rows of 20 posts, and
the 21st match only says that there is a next page. The next request begins behind the cursor: score and publication
of the 20th match. `page=3` asks for 61 publications and reads the rows of the last 20 of the first 60.
"""

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
            post_queries.with_publications(question.newest(index.END, index.MAX_MATCHES + 1)),
            post_queries.LISTED[sort],
            args,
        )
    label, limit, cursor = f"search by {sort}", args["limit"], args.get("cursor")
    score, publication = read_cursor(label, cursor) if cursor else ranking.FIRST
    skipped = 0 if cursor else (args.get("page", 1) - 1) * limit
    wanted = skipped + limit + 1 if skipped < index.MAX_MATCHES else 0
    if sort == RELEVANCE:
        found, matches = ranking.best(question, (score, publication), wanted)
    else:
        found, _ = question.count()
        matches = [(0, match) for match in question.newest(publication, wanted)]
    page = matches[skipped : skipped + limit]
    following = write_cursor(label, list(page[-1])) if page and len(matches) == wanted else None
    set_place(args, min(found, index.MAX_MATCHES), found <= index.MAX_MATCHES, following)
    return post_queries.found_posts([match for _, match in page])
