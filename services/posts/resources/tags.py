"""Tags, and how many posts have them."""

from typing import Any

from flask import Response

from services.posts import lists
from services.posts.schemas import TagSchema
from services.posts.sharing import ALL_LISTS, share
from shared.api import Blueprint, respond
from shared.pagination import PageQuerySchema, paginate

blp = Blueprint("tags", __name__, url_prefix="/api/tags", description="What posts are about")


@blp.route("", methods=["GET"])
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, TagSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the tags of posts that everybody may see, the most used first."""
    rows = paginate(lists.used_tags(), lists.MOST_USED, args)
    return share(respond([{"name": tag.name, "postCount": tag.post_count} for tag in rows]), (), ALL_LISTS)
