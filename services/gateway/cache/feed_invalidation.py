"""Forget cached answers when the feed of their service tells of a change, whoever made it."""

from contextlib import suppress
from typing import Any

from services.gateway.cache.store import Store, StoreUnavailable
from services.gateway.cache.write_invalidation import all_of
from services.gateway.config import Config
from services.gateway.routes import SERVICES, Upstream
from shared.feed.consumer import MemoryConsumer

LOOK_BACK = 5.0  # seconds; at the start nothing is cached yet


class InvalidationConsumer(MemoryConsumer):
    """Purge by every fact of the feed; one of a kind that is not known here touches all of the service's answers.

    Each gateway process reads for itself. Every few moments it also hears of other gateways, and they of it: what was
    purged while Redis was away reaches them without waiting for a request.
    """

    def __init__(self, service: str, config: Config, store: Store) -> None:
        super().__init__(service, config.upstreams[service], config.internal_token, {}, look_back=LOOK_BACK)
        self._store = store

    def read_batch(self) -> int:
        with suppress(StoreUnavailable):
            self._store.catch_up()
        return super().read_batch()

    def _start_over(self, oldest: str) -> None:
        self._store.forget({all_of(self.source)})
        super()._start_over(oldest)

    def _handle(self, event: dict[str, Any]) -> None:
        self._store.forget(changed_tags(SERVICES[self.source], event) or {all_of(self.source)})


def changed_tags(service: Upstream, event: dict[str, Any]) -> set[str]:
    """Return the tags of the answers that a fact of the service changes; nothing where its row does not say."""
    templates = service.invalidation.get(event["type"].partition(".")[0], ())
    try:
        return {template.format_map({**event["data"], "subject": event["subject"]}) for template in templates}
    except KeyError:
        return set()
