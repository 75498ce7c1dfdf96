"""Tags, and how many posts have them."""

from typing import Any

from flask import Response

from services.posts import post_queries
from services.posts.cache_tags import ALL_LISTS, share
from services.posts.schemas import TagSchema
from shared.database.pagination import PageQuerySchema, paginate
from shared.web.blueprint import Blueprint
from shared.web.responses import respond

blp = Blueprint("tags", __name__, url_prefix="/api/tags", description="What posts are about")


@blp.route("", methods=["GET"])
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, TagSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the tags of posts that everybody may see, the most used first."""
    rows = paginate(post_queries.used_tags(), post_queries.MOST_USED, args)
    return share(respond([{"name": tag.name, "postCount": tag.post_count} for tag in rows]), (), ALL_LISTS)
