"""Follow the feeds of auth and posts: each batch of facts, what comes of it and the position are one transaction."""

from collections.abc import Mapping
from typing import Any

from services.messages import notifying
from services.messages.config import Config
from services.messages.models import FeedPosition, database
from shared.feed import DatabaseReader, Handler

PAUSE = 0.2  # seconds between two questions: people wait for what is told here

OF_AUTH = {
    "user.registered": notifying.welcome,
    "user.updated": notifying.know,
    "user.role_changed": notifying.tell_role,
    "user.deleted": notifying.forget_user,
}
OF_POSTS = {
    "post.updated": notifying.rename_post,
    "post.deleted": notifying.forget_post,
    "post.liked": notifying.tell_like,
    "post.unliked": notifying.take_like_back,
    "comment.created": notifying.tell_comment,
    "comment.shown": notifying.tell_comment,
    "comment.hidden": notifying.withdraw_comment,
    "comment.deleted": notifying.withdraw_comment,
}
WITHDRAWN = ("comment.hidden", "comment.deleted")


class FactReader(DatabaseReader):
    """Read one feed; a comment that is hidden or deleted by the end of the batch is as if it had never been written."""

    def __init__(self, source: str, url: str, token: str, handlers: Mapping[str, Handler]) -> None:
        super().__init__(source, url, token, handlers, database=database, position=FeedPosition)
        self._pause = PAUSE
        self._withdrawn: set[str] = set()

    def _commit(self, events: list[dict[str, Any]]) -> None:
        self._withdrawn = {event["subject"] for event in events if event["type"] in WITHDRAWN}
        super()._commit(events)

    def _handle(self, event: dict[str, Any]) -> None:
        if event["type"] != "comment.created" or event["subject"] not in self._withdrawn:
            super()._handle(event)


def readers(config: Config) -> list[FactReader]:
    """Return the readers of both feeds."""
    token = config.internal_token
    return [
        FactReader("auth", config.auth_url, token, OF_AUTH),
        FactReader("posts", config.posts_url, token, OF_POSTS),
    ]
