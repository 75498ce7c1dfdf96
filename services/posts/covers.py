"""Take a cover image from its posts when uploads tells that it is gone."""

from typing import Any

from services.posts import editing
from services.posts.config import Config
from services.posts.models import FeedPosition, database
from shared.feed import DatabaseReader


def reader(config: Config) -> DatabaseReader:
    """Return the reader of uploads' feed."""
    handlers = {"upload.deleted": _uncover}
    return DatabaseReader(
        "uploads", config.uploads_url, config.internal_token, handlers, database=database, position=FeedPosition
    )


def _uncover(event: dict[str, Any]) -> None:
    editing.drop_cover(event["subject"])
