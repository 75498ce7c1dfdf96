"""Mark responses that the gateway may cache, and name those that a write invalidates (`Cache-Tag`).

The tags: `post-<id>` for what shows a post or its comments, `posts` for every list of posts, of tags or of categories,
`author-<id>` for what shows the name of an author.
"""

from collections.abc import Iterable

from flask import Response, request

from shared.identity.credentials import has_credentials

PUBLIC_CACHE_CONTROL = "public, s-maxage=60, stale-while-revalidate=30"
ALL_LISTS = "posts"


def post_tag_name(post_id: str) -> str:
    return f"post-{post_id}"


def share(response: Response, authors: Iterable[str], *tags: str) -> Response:
    """Allow the gateway to cache an anonymous response; `authors` are the ids of the authors whose names it shows."""
    environ = request.environ
    if not has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")):
        response.headers["Cache-Control"] = PUBLIC_CACHE_CONTROL
        response.headers["Cache-Tag"] = ", ".join(
            (*tags, *dict.fromkeys(f"author-{author_id}" for author_id in authors))
        )
    return response


def share_post(response: Response, post_id: str, author_id: str) -> Response:
    """Allow the gateway to cache a post. It reports the views that its cache answers under the id in `View-Of`."""
    response.headers["View-Of"] = post_id
    return share(response, [author_id], post_tag_name(post_id))


def invalidate(response: Response, post_id: str) -> Response:
    """Invalidate the cached responses that show the post; the gateway does so before the writer gets this response."""
    response.headers["Cache-Tag"] = f"{post_tag_name(post_id)}, {ALL_LISTS}"
    return response
