"""Categories: all read, moderators keep them."""

from typing import Any

from flask import Response

from services.posts import categories, post_queries
from services.posts.cache_tags import ALL_LISTS, share
from services.posts.models import Category, database, idempotency
from services.posts.schemas import CategoryChangeSchema, CategoryCreateSchema, CategoryItemSchema
from services.posts.serializers import category_item
from shared.database.pagination import PageQuerySchema, paginate
from shared.web.auth import signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.responses import no_content, respond

blp = Blueprint("categories", __name__, url_prefix="/api/categories", description="Where posts belong")


@blp.route("", methods=["GET"])
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, CategoryItemSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the categories with the number of posts that everybody may see."""
    rows = paginate(Category.existing(), post_queries.BY_SLUG, args)
    return share(respond([category_item(category) for category in rows]), (), ALL_LISTS)


@blp.route("", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED")
@signed_in("moderator")
@blp.arguments(CategoryCreateSchema)
@idempotency.accepts_key
@blp.response(201, CategoryItemSchema)
def create(data: dict[str, Any]) -> Response:
    """Add a category; its slug is made from the name and stays."""
    category = categories.create(data["name"])
    return tagged(1, category_item(category), 201, {"Location": f"/api/categories/{category.id}"})


@blp.route("/<key>", methods=["PATCH"])
@blp.problems("CONFLICT")
@signed_in("moderator")
@blp.arguments(CategoryChangeSchema)
@blp.response(200, CategoryItemSchema)
def change(data: dict[str, Any], key: str) -> Response:
    """Rename a category, given by its id or slug."""
    with database.atomic():
        category = categories.locked(key)
        require_match(category.version, {"name": category.name}, data, lambda: category_item(category))
        categories.rename(category, data.get("name", category.name))
    return tagged(category.version, category_item(category))


@blp.route("/<key>", methods=["DELETE"])
@signed_in("moderator")
@blp.response(204)
def delete(key: str) -> Response:
    """Delete a category; its posts stay, without one."""
    with database.atomic():
        category = categories.locked(key)
        require_match(category.version, {}, {}, lambda: category_item(category))
        categories.delete(category)
    return no_content()
