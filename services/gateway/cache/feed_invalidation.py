"""Purge cached responses by the facts in the feed of their service."""

from contextlib import suppress
from typing import Any

from services.gateway.cache.store import Store, StoreUnavailable
from services.gateway.cache.write_invalidation import all_of
from services.gateway.config import Config
from services.gateway.routes import SERVICES, Upstream
from shared.feed.consumer import MemoryConsumer

LOOK_BACK = 5.0  # seconds; at the start nothing is cached yet


class InvalidationConsumer(MemoryConsumer):
    """Purge the tags of each fact; a fact of an unknown type purges all responses of the service.

    Each gateway process follows the feed itself. Each poll also exchanges purges with the other gateway processes, so
    that purges made while Redis was down reach them without a request.
    """

    def __init__(self, service: str, config: Config, store: Store) -> None:
        super().__init__(service, config.upstreams[service], config.internal_token, {}, look_back=LOOK_BACK)
        self._store = store

    def read_batch(self) -> int:
        with suppress(StoreUnavailable):
            self._store.apply_invalidations()
        return super().read_batch()

    def _start_over(self, oldest: str) -> None:
        self._store.purge_local({all_of(self.source)})
        super()._start_over(oldest)

    def _handle(self, event: dict[str, Any]) -> None:
        self._store.purge_local(changed_tags(SERVICES[self.source], event) or {all_of(self.source)})


def changed_tags(service: Upstream, event: dict[str, Any]) -> set[str]:
    """Return the cache tags that a fact invalidates; empty if the service's `invalidation` has no template for it."""
    templates = service.invalidation.get(event["type"].partition(".")[0], ())
    try:
        return {template.format_map({**event["data"], "subject": event["subject"]}) for template in templates}
    except KeyError:
        return set()
