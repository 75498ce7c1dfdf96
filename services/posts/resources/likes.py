"""Likes: each user once."""

from flask import Response

from services.posts import likes
from services.posts.access import visible_post_of_id
from services.posts.cache_tags import invalidate
from services.posts.schemas import LikeSchema
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.html_forms import takes_form
from shared.web.responses import respond

blp = Blueprint("likes", __name__, url_prefix="/api/posts", description="Who likes what")


@blp.route("/<post_id>/like", methods=["PUT"])
@signed_in()
@blp.response(200, LikeSchema)
@takes_form
def like(post_id: str) -> Response:
    """Like a post; a second time changes nothing."""
    return _set(post_id, liked=True)


@blp.route("/<post_id>/like", methods=["DELETE"])
@signed_in()
@blp.response(200, LikeSchema)
@takes_form
def unlike(post_id: str) -> Response:
    """Like a post no longer."""
    return _set(post_id, liked=False)


def _set(post_id: str, *, liked: bool) -> Response:
    count = likes.set_like(require_user(), visible_post_of_id(post_id), liked=liked)
    return invalidate(respond({"liked": liked, "likeCount": count}), post_id)
