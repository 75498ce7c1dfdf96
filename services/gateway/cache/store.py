"""An LRU cache of responses in memory, bounded in bytes: looked up by target and Vary, purged by tag."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.gateway.http.headers import Headers

MAX_OBJECT = 512 * 1024  # bytes of a body
OVERHEAD = 2000  # bytes of an entry besides its texts, about
MAX_PURGED = 10_000  # tags whose last purge is remembered
Values = tuple[str | None, ...]  # an empty header is not an absent one (RFC 9111, section 4.1)
Key = tuple[str, Values]


@dataclass(slots=True, eq=False)
class Entry:
    """A stored response; times are seconds of a monotonic clock.

    `names` are the WSGI keys of the request headers in its Vary. After `fresh_until` it may be served until
    `grace_until` (stale-while-revalidate), and until `error_until` if the revalidation fails (stale-if-error). No
    revalidation starts before `retry_at`. `cache_headers` came from the service and are not for clients. `viewed` is
    the id of the post that a client views with this response.
    """

    key: Key
    names: tuple[str, ...]
    tags: frozenset[str]
    status: str
    headers: Headers
    headers_of_304: Headers
    cache_headers: Headers
    body: bytes
    etag: str
    born: float
    fresh_until: float
    grace_until: float
    error_until: float
    viewed: str = ""
    retry_at: float = 0.0

    def expire(self) -> None:
        """Require a revalidation before the next use; stale-if-error still applies."""
        self.fresh_until = self.grace_until = self.born
        self.retry_at = 0.0

    @property
    def size(self) -> int:
        texts = sum(len(name) + len(value) for name, value in self.headers)
        return OVERHEAD + len(self.body) + texts + len(self.key[0]) + sum(len(value or "") for value in self.key[1])


class StoreUnavailable(Exception):
    """The stored entries may be out of date, since purges of other gateway processes cannot be read."""


@dataclass(slots=True)
class Variants:
    """The entries of one target by the values of the request headers in Vary."""

    names: tuple[str, ...]
    entries: dict[Values, Entry] = field(default_factory=dict)


class Store:
    """An LRU cache of entries.

    `epoch` grows with every purge. A fetch notes the epoch before it starts, and `put` refuses its entry if one of
    its tags was purged since: the response may be older than the change.

    Example: a fetch of post 7 starts in epoch 4. A write purges the tag `post-7`, in epoch 5. The fetch returns the
    post as it was before the write; `put(entry, since=4)` returns False.
    """

    def __init__(self, max_bytes: int) -> None:
        self.epoch = 0
        self.size = 0
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._variants: dict[str, Variants] = {}
        self._lru: OrderedDict[Key, Entry] = OrderedDict()
        self._by_tag: dict[str, set[Key]] = {}
        self._purged_at: OrderedDict[str, int] = OrderedDict()
        self._all_purged_at = 0

    def find(self, target: str, environ: Mapping[str, Any]) -> Entry | None:
        """Return the entry for this target and these request headers, fresh or stale."""
        with self._lock:
            variants = self._variants.get(target)
            if variants is None:
                return None
            entry = variants.entries.get(tuple(environ.get(name) for name in variants.names) if variants.names else ())
            if entry:
                self._lru.move_to_end(entry.key)
            return entry

    def has(self, entry: Entry) -> bool:
        """Return whether the entry is still stored, neither purged nor replaced."""
        return self._lru.get(entry.key) is entry

    def discard(self, entry: Entry) -> None:
        with self._lock:
            if self.has(entry):
                self._drop(entry)

    def put(self, entry: Entry, since: int) -> bool:
        """Store an entry that was fetched since that epoch; return False if it is too large or outdated by a purge."""
        with self._lock:
            if entry.size > self._max_bytes or self._is_outdated(entry.tags, since):
                return False
            self._make_room(entry)
            self._variants.setdefault(entry.key[0], Variants(entry.names)).entries[entry.key[1]] = entry
            self._lru[entry.key] = entry
            self.size += entry.size
            for tag in entry.tags:
                self._by_tag.setdefault(tag, set()).add(entry.key)
            return True

    def purge(self, tags: Iterable[str]) -> None:
        """Purge the entries with these tags, here and in the other gateway processes."""
        self.purge_local(tags)

    def soft_purge(self, tags: Iterable[str]) -> None:
        """Expire the entries with these tags, here and in the other gateway processes; stale-if-error still applies."""
        self.soft_purge_local(tags)

    def apply_invalidations(self) -> None:
        """Apply purges from other gateway processes. No-op for the in-process store."""

    def close(self) -> None:
        """Close connections. No-op for the in-process store."""

    def clear(self) -> None:
        """Remove every entry, and refuse the entries of fetches under way."""
        with self._lock:
            self.epoch += 1
            self._all_purged_at = self.epoch
            self._purged_at.clear()
            for entry in list(self._lru.values()):
                self._drop(entry)

    def purge_local(self, tags: Iterable[str]) -> None:
        """Remove the entries that have one of the tags, and refuse those of fetches under way."""
        with self._lock:
            for entry in self._begin_epoch(tags):
                self._drop(entry)

    def soft_purge_local(self, tags: Iterable[str]) -> None:
        """Expire the entries that have one of the tags, and refuse those of fetches under way."""
        with self._lock:
            for entry in self._begin_epoch(tags):
                entry.expire()

    def _begin_epoch(self, tags: Iterable[str]) -> list[Entry]:
        """Record the purge of the tags, and return the entries that have one of them."""
        self.epoch += 1
        keys: set[Key] = set()
        for tag in tags:
            self._purged_at[tag] = self.epoch
            self._purged_at.move_to_end(tag)
            keys |= self._by_tag.get(tag, set())
        while len(self._purged_at) > MAX_PURGED:
            _, self._all_purged_at = self._purged_at.popitem(last=False)
        return [self._lru[key] for key in keys]

    def _is_outdated(self, tags: frozenset[str], since: int) -> bool:
        return since < self._all_purged_at or any(self._purged_at.get(tag, 0) > since for tag in tags)

    def _make_room(self, entry: Entry) -> None:
        """Drop the entry that is replaced, entries with another Vary, and then the least recently used."""
        if variants := self._variants.get(entry.key[0]):
            others = variants.names != entry.names
            replaced = list(variants.entries.values()) if others else [variants.entries.get(entry.key[1])]
            for old in replaced:
                if old:
                    self._drop(old)
        while self.size + entry.size > self._max_bytes:
            self._drop(next(iter(self._lru.values())))

    def _drop(self, entry: Entry) -> None:
        del self._lru[entry.key]
        self.size -= entry.size
        target, values = entry.key
        variants = self._variants[target]
        del variants.entries[values]
        if not variants.entries:
            del self._variants[target]
        for tag in entry.tags:
            keys = self._by_tag[tag]
            keys.discard(entry.key)
            if not keys:
                del self._by_tag[tag]
