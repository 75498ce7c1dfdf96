"""The bodies of posts and comments, made from rows: marshmallow's dump is most of the time of a list."""

from datetime import datetime
from typing import Any

import orjson

from services.posts.post_queries import Row
from shared.clock import rfc3339


def post_item(row: Row, public_url: str) -> dict[str, Any]:
    """Return a row as PostItemSchema documents it."""
    return {
        "id": row.id,
        "title": row.title,
        "slug": row.slug,
        "excerpt": row.excerpt,
        "status": row.status,
        "author": {"id": row.author_id, "name": row.author_name, "avatar": row.author_avatar},
        "category": {"id": row.category_id, "name": row.category_name, "slug": row.category_slug}
        if row.category_id
        else None,
        "tags": orjson.Fragment(row.tags_json),
        "coverImage": _image(row.cover_image, public_url),
        "views": row.views,
        "likeCount": row.like_count,
        "commentCount": row.comment_count,
        "publishedAt": _moment(row.published_at),
        "createdAt": _moment(row.created_at),
        "updatedAt": _moment(row.updated_at),
    }


def category_item(row: Row) -> dict[str, Any]:
    """Return a row as CategoryItemSchema documents it."""
    return {"id": row.id, "name": row.name, "slug": row.slug, "postCount": row.post_count}


def whole_post(row: Row, public_url: str) -> dict[str, Any]:
    """Return a row as PostSchema documents it."""
    return post_item(row, public_url) | {"content": row.content}


def comment_item(row: Row, *, readable: bool) -> dict[str, Any]:
    """Return a row as CommentSchema documents it, with what it says where that is readable."""
    author = {"id": row.author_id, "name": row.author_name, "avatar": row.author_avatar}
    return {
        "id": row.id,
        "postId": row.post_id,
        "parentId": row.parent_id,
        "depth": row.depth,
        "author": author if readable else None,
        "content": row.content if readable else None,
        "status": row.status,
        "createdAt": _moment(row.created_at),
        "updatedAt": _moment(row.updated_at),
    }


def comment_tree(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put replies, which stand after what they answer, into it; return what answers nothing."""
    known = {item["id"]: item | {"replies": []} for item in items}
    for item in known.values():
        if item["parentId"] in known:
            known[item["parentId"]]["replies"].append(item)
    return [item for item in known.values() if item["parentId"] is None]


def _image(upload_id: str | None, public_url: str) -> dict[str, str] | None:
    return {"id": upload_id, "url": f"{public_url}/api/files/by-id/{upload_id}"} if upload_id else None


def _moment(value: str | datetime | None) -> str | None:
    """Format what the database gave: SQLite's text is final."""
    return rfc3339(value) if isinstance(value, datetime) else value
