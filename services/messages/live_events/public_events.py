"""The handlers that turn facts of posts into public live events, without private fields."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from services.messages.live_events import event_log

POST = ("id", "slug", "title", "authorId", "publishedAt")
COMMENT = ("id", "postId", "authorId", "parentId")
REMOVED = ("id", "postId")
TOPICS = (
    "post.published",
    "post.updated",
    "post.deleted",
    "comment.created",
    "comment.updated",
    "comment.deleted",
)
CONNECTED, RESYNC = "connected", "resync"  # of the stream itself
NOTIFICATION = "notification"  # for its owner only
Fact = dict[str, Any]


def _append(topic: str, names: tuple[str, ...], fact: Fact) -> None:
    data = fact["data"]
    public = {"type": topic} | {name: data[name] for name in names if name in data}
    post_id = data.get("postId", data["id"])
    event_log.append(topic, public, post_id=post_id, moment=datetime.fromisoformat(fact["time"]))


def _retract(topic: str, fact: Fact) -> None:
    """Delete the events about a post or comment that is no longer public, and append one that says so."""
    event_log.delete_about(fact["subject"])
    _append(topic, REMOVED, fact)


def _post_updated(fact: Fact) -> None:
    listed, was_listed = fact["data"].get("listed"), fact["data"].get("wasListed")
    if listed:
        _append("post.updated" if was_listed else "post.published", POST, fact)
    elif was_listed:
        _retract("post.deleted", fact)


def _post_deleted(fact: Fact) -> None:
    if fact["data"].get("wasListed"):
        _retract("post.deleted", fact)


def _comment_removed(fact: Fact) -> None:
    if fact["data"].get("wasVisible"):
        _retract("comment.deleted", fact)


HANDLERS: dict[str, Callable[[Fact], None]] = {
    "post.published": partial(_append, "post.published", POST),
    "post.updated": _post_updated,
    "post.deleted": _post_deleted,
    "comment.created": partial(_append, "comment.created", COMMENT),
    "comment.shown": partial(_append, "comment.created", COMMENT),
    "comment.updated": partial(_append, "comment.updated", COMMENT),
    "comment.hidden": _comment_removed,
    "comment.deleted": _comment_removed,
}
