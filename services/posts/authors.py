"""Know the authors' names as auth tells them, so that a new name shows on earlier posts too."""

from datetime import datetime
from typing import Any

from services.posts.config import Config
from services.posts.editing import discard_drafts
from services.posts.models import Author, FeedPosition, database, feed
from shared.feed import DatabaseReader


def reader(config: Config) -> DatabaseReader:
    """Return the reader of auth's feed that keeps the table of authors."""
    handlers = {"user.registered": _remember, "user.updated": _rename, "user.deleted": _forget}
    return DatabaseReader(
        "auth", config.auth_url, config.internal_token, handlers, database=database, position=FeedPosition
    )


def _remember(event: dict[str, Any]) -> None:
    data = event["data"]
    Author.remember(event["subject"], data["name"], data.get("avatar"), datetime.fromisoformat(event["time"]))


def _rename(event: dict[str, Any]) -> None:
    _remember(event)
    feed.publish("author.updated", event["subject"], {})


def _forget(event: dict[str, Any]) -> None:
    Author.forget(event["subject"])
    discard_drafts(event["subject"])
    feed.publish("author.updated", event["subject"], {})
