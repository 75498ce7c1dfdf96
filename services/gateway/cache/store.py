"""Keep answers in memory: of a bounded size, found by target and Vary, purged by tag."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.gateway.http.headers import Headers

MAX_OBJECT = 512 * 1024  # bytes of a body
OVERHEAD = 2000  # bytes that an entry takes besides its texts, about
MAX_PURGED = 10_000  # tags whose last purge is remembered
Values = tuple[str | None, ...]  # an empty header is not an absent one (RFC 9111, section 4.1)
Key = tuple[str, Values]


@dataclass(slots=True, eq=False)
class Entry:
    """An answer as it goes out; times are those of a monotonic clock.

    `headers` lack what differs from one use to the next; `names` are the request's WSGI keys that it depends on.
    After `fresh_until` it may be used until `grace_until` while it is renewed, and until `error_until` when that
    fails; before `retry_at` nobody tries again. `marks` are the headers for caches, which stay inside; `viewed` is
    the post whose view it is to look at this.
    """

    key: Key
    names: tuple[str, ...]
    tags: frozenset[str]
    status: str
    headers: Headers
    brief_headers: Headers  # those of a 304
    marks: Headers
    body: bytes
    etag: str
    born: float
    fresh_until: float
    grace_until: float
    error_until: float
    viewed: str = ""
    retry_at: float = 0.0

    def outdate(self) -> None:
        """Have it asked for again before its next use; while that fails, it may still be used."""
        self.fresh_until = self.grace_until = self.born
        self.retry_at = 0.0

    @property
    def size(self) -> int:
        texts = sum(len(name) + len(value) for name, value in self.headers)
        return OVERHEAD + len(self.body) + texts + len(self.key[0]) + sum(len(value or "") for value in self.key[1])


class StoreUnavailable(Exception):
    """What is kept cannot be trusted at the moment."""


@dataclass(slots=True)
class Page:
    """The variants of one target, told apart by these request headers."""

    names: tuple[str, ...]
    variants: dict[Values, Entry] = field(default_factory=dict)


class Store:
    """Entries in the order of their last use; the longest unused one goes first.

    `epoch` grows with every purge. Whoever asks an upstream notes it before, and `put` refuses an answer to one
    of whose tags a purge has come since: it may be older than the change.
    """

    def __init__(self, max_bytes: int) -> None:
        self.epoch = 0
        self.size = 0
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pages: dict[str, Page] = {}
        self._used: OrderedDict[Key, Entry] = OrderedDict()
        self._tagged: dict[str, set[Key]] = {}
        self._purged: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0

    def find(self, target: str, environ: Mapping[str, Any]) -> Entry | None:
        """Return the answer to this target and these request headers, fresh or not."""
        with self._lock:
            page = self._pages.get(target)
            if page is None:
                return None
            entry = page.variants.get(tuple(environ.get(name) for name in page.names) if page.names else ())
            if entry:
                self._used.move_to_end(entry.key)
            return entry

    def has(self, entry: Entry) -> bool:
        """Tell whether the entry has not been purged or replaced."""
        return self._used.get(entry.key) is entry

    def discard(self, entry: Entry) -> None:
        with self._lock:
            if self.has(entry):
                self._drop(entry)

    def put(self, entry: Entry, since: int) -> bool:
        """Keep what was asked for at that epoch, and tell whether it may be kept."""
        with self._lock:
            if entry.size > self._max_bytes or self._outdated(entry.tags, since):
                return False
            self._make_room(entry)
            self._pages.setdefault(entry.key[0], Page(entry.names)).variants[entry.key[1]] = entry
            self._used[entry.key] = entry
            self.size += entry.size
            for tag in entry.tags:
                self._tagged.setdefault(tag, set()).add(entry.key)
            return True

    def purge(self, tags: Iterable[str]) -> None:
        """Forget what a write here has touched, before its writer gets the answer."""
        self.forget(tags)

    def doubt(self, tags: Iterable[str]) -> None:
        """Outdate what a write here has perhaps touched: nobody knows what became of it."""
        self.outdate(tags)

    def catch_up(self) -> None:
        """Hear of what others have purged; there is nobody else here."""

    def close(self) -> None:
        """Give back what is not memory."""

    def clear(self) -> None:
        """Forget every answer, also those that are still on their way."""
        with self._lock:
            self.epoch += 1
            self._forgotten = self.epoch
            self._purged.clear()
            for entry in list(self._used.values()):
                self._drop(entry)

    def forget(self, tags: Iterable[str]) -> None:
        """Forget every answer that has one of the tags, also those that are still on their way."""
        with self._lock:
            for entry in self._begin_epoch(tags):
                self._drop(entry)

    def outdate(self, tags: Iterable[str]) -> None:
        """Outdate every answer that has one of the tags, and refuse those that are still on their way."""
        with self._lock:
            for entry in self._begin_epoch(tags):
                entry.outdate()

    def _begin_epoch(self, tags: Iterable[str]) -> list[Entry]:
        """Note that the tags have changed, and return the entries that have one of them."""
        self.epoch += 1
        keys: set[Key] = set()
        for tag in tags:
            self._purged[tag] = self.epoch
            self._purged.move_to_end(tag)
            keys |= self._tagged.get(tag, set())
        while len(self._purged) > MAX_PURGED:
            _, self._forgotten = self._purged.popitem(last=False)
        return [self._used[key] for key in keys]

    def _outdated(self, tags: frozenset[str], since: int) -> bool:
        return since < self._forgotten or any(self._purged.get(tag, 0) > since for tag in tags)

    def _make_room(self, entry: Entry) -> None:
        """Drop what the entry replaces, what depends on other headers, and then the longest unused."""
        if page := self._pages.get(entry.key[0]):
            replaced = list(page.variants.values()) if page.names != entry.names else [page.variants.get(entry.key[1])]
            for old in replaced:
                if old:
                    self._drop(old)
        while self.size + entry.size > self._max_bytes:
            self._drop(next(iter(self._used.values())))

    def _drop(self, entry: Entry) -> None:
        del self._used[entry.key]
        self.size -= entry.size
        target, values = entry.key
        page = self._pages[target]
        del page.variants[values]
        if not page.variants:
            del self._pages[target]
        for tag in entry.tags:
            keys = self._tagged[tag]
            keys.discard(entry.key)
            if not keys:
                del self._tagged[tag]
