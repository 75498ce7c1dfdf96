"""Take a cover image from its posts when uploads tells that it is gone."""

from typing import Any

from services.posts import posts
from services.posts.config import Config
from services.posts.models import FeedPosition, Post, database
from shared.feed.database_consumer import DatabaseReader


class CoverReader(DatabaseReader):
    """Follow the feed of uploads."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            "uploads",
            config.uploads_url,
            config.internal_token,
            {"upload.deleted": _uncover},
            database=database,
            position=FeedPosition,
        )

    def rebuild(self) -> None:
        """Take from the posts what uploads does not know."""
        for page in self.pages("/internal/uploads", may_be_empty=True):
            with database.atomic():
                for upload_id in Post.covers(page.after, page.last) - page.ids:
                    posts.drop_cover(upload_id)


def _uncover(event: dict[str, Any]) -> None:
    posts.drop_cover(event["subject"])
