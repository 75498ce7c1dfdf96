"""Say which answers everybody may share, and which of them a write has touched (`Cache-Tag`).

The tags: `post-<id>` for what shows a post or its comments, `posts` for every list of posts, of tags or of categories,
`author-<id>` for what shows the name of an author.
"""

from collections.abc import Iterable

from flask import Response, request

from shared.identity.credentials import has_credentials

FOR_ALL = "public, s-maxage=60, stale-while-revalidate=30"
ALL_LISTS = "posts"


def about_post(post_id: str) -> str:
    return f"post-{post_id}"


def by_author(author_id: str) -> str:
    return f"author-{author_id}"


def share(response: Response, authors: Iterable[str], *tags: str) -> Response:
    """Let the gateway keep what a stranger reads; `authors` are the ids of those whose names are shown."""
    environ = request.environ
    if not has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")):
        response.headers["Cache-Control"] = FOR_ALL
        response.headers["Cache-Tag"] = ", ".join((*tags, *dict.fromkeys(map(by_author, authors))))
    return response


def share_post(response: Response, post_id: str, author_id: str) -> Response:
    """Let the gateway keep a post; it tells the views of what it answers itself, by this name."""
    response.headers["View-Of"] = post_id
    return share(response, [author_id], about_post(post_id))


def touch(response: Response, post_id: str) -> Response:
    """Have what shows the post forgotten before the writer gets this answer."""
    response.headers["Cache-Tag"] = f"{about_post(post_id)}, {ALL_LISTS}"
    return response
