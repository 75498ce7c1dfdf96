"""What the other services of this installation may ask for."""

from typing import Any

import marshmallow as ma
from flask import Response

from services.posts.slugs import MAX_SPELLING, spellings
from services.posts.view_counts import ViewCounter
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.internal import require_internal
from shared.web.responses import no_content
from shared.web.schema import Schema, Text

MAX_VIEWS = 5000
blp = Blueprint("internal", __name__, url_prefix="/internal", description="For other services")


class ViewSchema(Schema):
    """Somebody looked at a post; the viewer is a user's id or a client's address, which is kept as a hash only."""

    post = Text(low=1, high=MAX_SPELLING, required=True)
    viewer = Text(low=1, high=200, required=True)

    @ma.pre_load(pass_collection=True)
    def _count(self, views: Any, **_: Any) -> Any:
        """Refuse a list that is too long before its items are validated."""
        if isinstance(views, list) and len(views) > MAX_VIEWS:
            raise ma.ValidationError(f"At most {MAX_VIEWS} views at once.")
        return views


@blp.before_request
def _internal_only() -> None:
    require_internal()


@blp.route("/views", methods=["POST"])
@blp.arguments(ViewSchema(many=True))
@blp.response(204)
def add_views(views: list[dict[str, Any]]) -> Response:
    """Count views of pages that the gateway answered from its cache; a post is named by its id or slug."""
    counted = current_service().get(ViewCounter)
    for view in views:
        if spellings(view["post"]):
            counted.record(view["post"], view["viewer"])
    return no_content()
