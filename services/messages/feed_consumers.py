"""Follow the feeds of auth and posts: each batch of facts, what comes of it and the position are one transaction."""

from collections.abc import Mapping
from typing import Any

from services.messages import notifications
from services.messages.config import Config
from services.messages.live_events import event_log, public_events
from services.messages.models import FeedPosition, Person, database
from shared import clock
from shared.feed.consumer import Handler
from shared.feed.database_consumer import SETTLED, DatabaseConsumer

PAUSE = 0.2  # seconds between two questions: people wait for what is told here

OF_AUTH = {
    "user.registered": notifications.welcome,
    "user.updated": notifications.know,
    "user.role_changed": notifications.tell_role,
    "user.deleted": notifications.forget_user,
}
_NOTICES = {
    "post.updated": notifications.rename_post,
    "post.deleted": notifications.forget_post,
    "post.liked": notifications.tell_like,
    "post.unliked": notifications.take_like_back,
    "comment.created": notifications.tell_comment,
    "comment.shown": notifications.tell_comment,
    "comment.hidden": notifications.withdraw_comment,
    "comment.deleted": notifications.withdraw_comment,
}


def _in_turn(*handlers: Handler | None) -> Handler:
    """Return what calls these handlers one after the other."""
    present = [handler for handler in handlers if handler]

    def handle(event: dict[str, Any]) -> None:
        for handler in present:
            handler(event)

    return handle


OF_POSTS = {
    kind: _in_turn(public_events.HANDLERS.get(kind), _NOTICES.get(kind))
    for kind in public_events.HANDLERS.keys() | _NOTICES.keys()
}
WITHDRAWN = ("comment.hidden", "comment.deleted")


class FactConsumer(DatabaseConsumer):
    """Read one feed; a comment that is hidden or deleted by the end of the batch is as if it had never been written."""

    def __init__(self, source: str, url: str, token: str, handlers: Mapping[str, Handler]) -> None:
        super().__init__(source, url, token, handlers, position=FeedPosition)
        self.pause = PAUSE
        self._withdrawn: set[str] = set()

    def _commit(self, events: list[dict[str, Any]]) -> None:
        self._withdrawn = {event["subject"] for event in events if event["type"] in WITHDRAWN}
        with database.atomic():
            event_log.lock()
            super()._commit(events)

    def _handle(self, event: dict[str, Any]) -> None:
        if event["type"] != "comment.created" or event["subject"] not in self._withdrawn:
            super()._handle(event)


class AuthConsumer(FactConsumer):
    """Read the feed of auth."""

    def rebuild(self) -> None:
        """Know every user as auth does, and nobody whom it does not know; nobody is welcomed after so long."""
        moment = clock.now() - SETTLED
        for page in self.pages("/internal/users"):
            with database.atomic():
                event_log.lock()
                for user in page.rows:
                    Person.remember(user["id"], user["name"], user["avatar"], moment)
                for user_id in Person.known(page.after, page.last) - page.ids:
                    notifications.forget_user({"subject": user_id})


class PostsConsumer(FactConsumer):
    """Read the feed of posts."""

    def _start_over(self, oldest: str) -> None:
        """Forget what was told of posts: it is older than all that the feed keeps, which is read again.

        Once for all processes: a slower one would forget what a faster one has read since.
        """
        with database.atomic():
            event_log.lock()
            if self._move_position(oldest):
                notifications.forget_posts()
                event_log.start_over()


def consumers(config: Config) -> list[FactConsumer]:
    """Return the consumers of both feeds."""
    token = config.internal_token
    return [
        AuthConsumer("auth", config.auth_url, token, OF_AUTH),
        PostsConsumer("posts", config.posts_url, token, OF_POSTS),
    ]
