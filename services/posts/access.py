"""Who may see and change a post."""

from services.posts import post_queries, posts
from services.posts.models import PUBLISHED, Post
from services.posts.post_queries import Row
from shared.identity.claims import Claims
from shared.ids import id_or_404
from shared.problems import Problem
from shared.web.auth import current_user, require_user


def visible_post(key: str) -> Row:
    """Return the post of an id or slug when the caller may see it; raise NOT_FOUND."""
    row = post_queries.one_post(key)
    _check_visible(row.status, row.author_id)
    return row


def visible_post_of_id(post_id: str) -> Row:
    """Return the post of an id when the caller may see it; raise NOT_FOUND, for a slug too."""
    return visible_post(id_or_404(post_id))


def _check_visible(status: str, author_id: str) -> None:
    caller = current_user()
    if status != PUBLISHED and not may_edit(caller, author_id):
        raise Problem("NOT_FOUND")


def may_edit(caller: Claims | None, author_id: str) -> bool:
    """Tell whether somebody may change what that author wrote."""
    return caller is not None and (caller.user_id == author_id or caller.has_role("moderator"))


def own_post(post_id: str) -> Post:
    """Return the post, locked, when the caller may edit it; raise NOT_FOUND or FORBIDDEN."""
    post = posts.locked_post(id_or_404(post_id))
    if post is None:
        raise Problem("NOT_FOUND")
    _check_visible(post.status, post.author_id)
    if not may_edit(require_user(), post.author_id):
        raise Problem("FORBIDDEN", "This is somebody else's post.")
    return post
