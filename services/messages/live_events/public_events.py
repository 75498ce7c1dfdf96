"""Say what everybody may hear of the facts of posts: of what is to be seen, and nothing private of that."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from services.messages.live_events import event_log

POST = ("id", "slug", "title", "authorId", "publishedAt")
COMMENT = ("id", "postId", "authorId", "parentId")
GONE = ("id", "postId")
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


def _tell(topic: str, names: tuple[str, ...], fact: Fact) -> None:
    data = fact["data"]
    told = {"type": topic} | {name: data[name] for name in names if name in data}
    post_id = data.get("postId", data["id"])
    event_log.append(topic, told, post_id=post_id, moment=datetime.fromisoformat(fact["time"]))


def _take_back(topic: str, fact: Fact) -> None:
    """Tell that a thing is not to be seen any more, and nobody any more that it was."""
    event_log.withdraw(fact["subject"])
    _tell(topic, GONE, fact)


def _post_updated(fact: Fact) -> None:
    listed, was_listed = fact["data"].get("listed"), fact["data"].get("wasListed")
    if listed:
        _tell("post.updated" if was_listed else "post.published", POST, fact)
    elif was_listed:
        _take_back("post.deleted", fact)


def _post_deleted(fact: Fact) -> None:
    if fact["data"].get("wasListed"):
        _take_back("post.deleted", fact)


def _comment_gone(fact: Fact) -> None:
    if fact["data"].get("wasVisible"):
        _take_back("comment.deleted", fact)


HANDLERS: dict[str, Callable[[Fact], None]] = {
    "post.published": partial(_tell, "post.published", POST),
    "post.updated": _post_updated,
    "post.deleted": _post_deleted,
    "comment.created": partial(_tell, "comment.created", COMMENT),
    "comment.shown": partial(_tell, "comment.created", COMMENT),
    "comment.updated": partial(_tell, "comment.updated", COMMENT),
    "comment.hidden": _comment_gone,
    "comment.deleted": _comment_gone,
}
