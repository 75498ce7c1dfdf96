"""Follow the feeds of auth and uploads: authors' names change on earlier posts too, and deleted covers go."""

from datetime import datetime
from typing import Any

from services.posts import posts
from services.posts.config import Config
from services.posts.models import Author, FeedPosition, Post, database, feed
from services.posts.posts import delete_drafts
from shared import clock
from shared.feed.database_consumer import SETTLED, SingleFactConsumer


class AuthorConsumer(SingleFactConsumer):
    """Follow auth's feed; it keeps the table of authors."""

    def __init__(self, config: Config) -> None:
        handlers = {"user.registered": _remember, "user.updated": _rename, "user.deleted": _forget}
        super().__init__("auth", config.auth_url, config.internal_token, handlers, position=FeedPosition)

    def rebuild(self) -> None:
        """Know every user as auth does, and nobody whom it does not know."""
        moment = clock.now() - SETTLED
        for page in self.pages("/internal/users"):
            with database.atomic():
                for user in page.rows:
                    Author.upsert(user["id"], user["name"], user["avatar"], moment)
            for user_id in Author.existing_ids(page.after, page.last) - page.ids:
                with database.atomic():
                    _forget({"subject": user_id})


def _remember(event: dict[str, Any]) -> None:
    data = event["data"]
    Author.upsert(event["subject"], data["name"], data.get("avatar"), datetime.fromisoformat(event["time"]))


def _rename(event: dict[str, Any]) -> None:
    _remember(event)
    feed.publish("author.updated", event["subject"], {})


def _forget(event: dict[str, Any]) -> None:
    Author.anonymize(event["subject"])
    delete_drafts(event["subject"])
    feed.publish("author.updated", event["subject"], {})


class CoverConsumer(SingleFactConsumer):
    """Follow the feed of uploads."""

    def __init__(self, config: Config) -> None:
        handlers = {"upload.deleted": lambda event: posts.remove_cover(event["subject"])}
        super().__init__("uploads", config.uploads_url, config.internal_token, handlers, position=FeedPosition)

    def rebuild(self) -> None:
        """Take from the posts what uploads does not know."""
        for page in self.pages("/internal/uploads", may_be_empty=True):
            for upload_id in Post.covers(page.after, page.last) - page.ids:
                with database.atomic():
                    posts.remove_cover(upload_id)
