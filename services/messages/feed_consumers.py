"""The consumers of the feeds of auth and posts: the effects of a batch and the new position are one transaction."""

from collections.abc import Mapping
from typing import Any

from services.messages import notifications
from services.messages.config import Config
from services.messages.live_events import event_log, public_events
from services.messages.models import FeedPosition, Person, database
from shared import clock
from shared.feed.consumer import Handler
from shared.feed.database_consumer import SETTLED, DatabaseConsumer

PAUSE = 0.2  # seconds between two polls, since users wait for notifications

OF_AUTH = {
    "user.registered": notifications.welcome,
    "user.updated": notifications.store_person,
    "user.role_changed": notifications.notify_role,
    "user.deleted": notifications.delete_user,
}
_NOTICES = {
    "post.updated": notifications.update_post_title,
    "post.deleted": notifications.remove_post,
    "post.liked": notifications.notify_like,
    "post.unliked": notifications.remove_like,
    "comment.created": notifications.notify_comment,
    "comment.shown": notifications.notify_comment,
    "comment.hidden": notifications.remove_comment,
    "comment.deleted": notifications.remove_comment,
}


def _in_turn(*handlers: Handler | None) -> Handler:
    """Return a handler that calls these handlers in order."""
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
    """A consumer that skips comments which are hidden or deleted later in the same batch."""

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
    """The consumer of auth's feed."""

    def rebuild(self) -> None:
        """Copy name and avatar of all users from auth, and delete users that auth does not have; send no welcome."""
        moment = clock.now() - SETTLED
        for page in self.pages("/internal/users"):
            with database.atomic():
                event_log.lock()
                for user in page.rows:
                    Person.upsert(user["id"], user["name"], user["avatar"], moment)
                for user_id in Person.existing_ids(page.after, page.last) - page.ids:
                    notifications.delete_user({"subject": user_id})


class PostsConsumer(FactConsumer):
    """The consumer of posts' feed."""

    def _start_over(self, oldest: str) -> None:
        """Delete all notifications and events about posts, since the feed, which is read again, has newer facts only.

        Only the process that moves the position does so. A slower one would delete what a faster one has written since.
        """
        with database.atomic():
            event_log.lock()
            if self._move_position(oldest):
                notifications.remove_all_posts()
                event_log.reset()


def consumers(config: Config) -> list[FactConsumer]:
    """Return the consumers of the feeds of auth and posts."""
    token = config.internal_token
    return [
        AuthConsumer("auth", config.auth_url, token, OF_AUTH),
        PostsConsumer("posts", config.posts_url, token, OF_POSTS),
    ]
