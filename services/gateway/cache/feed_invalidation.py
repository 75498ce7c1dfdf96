"""Forget cached answers when the feed of the posts service tells of a change, whoever made it."""

from contextlib import suppress
from typing import Any

from services.gateway.cache.store import Store, StoreUnavailable
from services.gateway.cache.write_invalidation import all_of
from services.gateway.config import Config
from shared.feed.consumer import MemoryConsumer

LOOK_BACK = 5.0  # seconds; at the start nothing is cached yet


class InvalidationConsumer(MemoryConsumer):
    """Purge by every fact of the feed; one of a kind that is not known here touches all of the service's answers.

    Each gateway process reads for itself. Every few moments it also hears of other gateways, and they of it: what was
    purged while Redis was away reaches them without waiting for a request.
    """

    def __init__(self, config: Config, store: Store) -> None:
        super().__init__("posts", config.upstreams["posts"], config.internal_token, {}, look_back=LOOK_BACK)
        self._store = store

    def read_batch(self) -> int:
        with suppress(StoreUnavailable):
            self._store.catch_up()
        return super().read_batch()

    def _start_over(self, oldest: str) -> None:
        self._store.forget({all_of(self.source)})
        super()._start_over(oldest)

    def _handle(self, event: dict[str, Any]) -> None:
        self._store.forget(touched(event) or {all_of(self.source)})


def touched(event: dict[str, Any]) -> set[str]:
    """Return the tags of the answers that a fact changes."""
    kind, subject = event["type"].partition(".")[0], event["subject"]
    if kind == "post":
        return {"posts", f"post-{subject}"}
    if kind == "comment" and "postId" in event["data"]:
        return {"posts", f"post-{event['data']['postId']}"}
    if kind == "author":
        return {f"author-{subject}"}
    return set()
