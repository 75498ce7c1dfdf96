"""Rate limits in the memory of this process, for a bounded number of keys."""

import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar

from limits.storage import MovingWindowSupport, Storage

from services.gateway.rate_limit.classes import LimitClass
from services.gateway.rate_limit.limiter import LimiterWindow, item_of


class BoundedMemoryStorage(Storage, MovingWindowSupport):
    """Store the times of each key's requests, eight bytes each, for at most `max_keys` keys of a class (LRU).

    The library's memory storage has an object for each request, bounds neither keys nor requests, and starts a thread.
    """

    STORAGE_SCHEME: ClassVar[list[str] | None] = ["bounded-memory"]  # type: ignore[misc]
    base_exceptions = MemoryError

    def __init__(self, uri: str, wrap_exceptions: bool = False, *, max_keys: int, clock: Callable[[], float]) -> None:
        super().__init__(uri, wrap_exceptions)
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self.classes: dict[str, OrderedDict[str, array[float]]] = {}

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = self._clock()
        with self._lock:
            keys = self.classes.setdefault(_class_of(key), OrderedDict())
            hits = keys.get(key)
            if hits is None:
                hits = keys[key] = array("d")
            elif expired := bisect_right(hits, now - expiry):
                del hits[:expired]
            allowed = len(hits) + amount <= limit
            if allowed:
                hits.extend([now] * amount)
                keys.move_to_end(key)
                self._evict(keys, now - expiry)
            return allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        with self._lock:
            now = self._clock()
            hits = self.classes.get(_class_of(key), OrderedDict()).get(key)
            first = bisect_right(hits, now - expiry) if hits else 0
            return (hits[first], len(hits) - first) if hits and first < len(hits) else (now, 0)

    def refund(self, key: str) -> None:
        """Remove the newest request of a key."""
        with self._lock:
            keys = self.classes.get(_class_of(key), OrderedDict())
            if hits := keys.get(key):
                hits.pop()
            if key in keys and not hits:
                del keys[key]

    def export(self) -> dict[str, dict[str, list[float]]]:
        """Return the times of requests by class and key; a machine has one monotonic clock for all processes."""
        with self._lock:
            return {name: {key: list(hits) for key, hits in keys.items()} for name, keys in self.classes.items()}

    def merge(self, exported: dict[str, dict[str, list[float]]]) -> None:
        """Add the exported counts of another process."""
        with self._lock:
            for name, keys in exported.items():
                own = self.classes.setdefault(name, OrderedDict())
                for key, hits in keys.items():
                    own[key] = array("d", sorted([*own.get(key, ()), *hits]))

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            removed = sum(map(len, self.classes.values()))
            self.classes.clear()
        return removed

    def clear(self, key: str) -> None:
        with self._lock:
            self.classes.get(_class_of(key), OrderedDict()).pop(key, None)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("only moving windows are kept")

    def get(self, key: str) -> int:
        raise NotImplementedError("only moving windows are kept")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("only moving windows are kept")

    def _evict(self, keys: OrderedDict[str, "array[float]"], expired: float) -> None:
        for _ in range(2):
            oldest, hits = next(iter(keys.items()))
            if hits[-1] > expired and len(keys) <= self._max_keys:
                return
            del keys[oldest]


class MemoryWindow(LimiterWindow):
    """Count in this process only."""

    def __init__(self, max_keys: int = 50_000, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("bounded-memory://", clock, {"max_keys": max_keys, "clock": clock})

    def refund(self, limit: LimitClass, key: str) -> None:
        self.storage.refund(item_of(limit).key_for(key))


def _class_of(key: str) -> str:
    return key.partition("/")[0]
