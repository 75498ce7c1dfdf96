"""Count requests in moving windows: exact, per class of routes, per user or client address."""

import math
import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from shared.problems import Problem

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class LimitClass:
    """So many requests in so many seconds."""

    name: str
    quota: int
    window: int


CLASSES = {
    known.name: known
    for known in (
        LimitClass("general", 100, MINUTE),
        LimitClass("files", 1000, MINUTE),
        LimitClass("login", 10, MINUTE),
        LimitClass("register", 5, MINUTE),
        LimitClass("auth", 10, MINUTE),
        LimitClass("refresh", 100, MINUTE),  # by address, refused ones only; auth counts those of each session
        LimitClass("contact", 5, MINUTE),
        LimitClass("upload", 20, HOUR),
        LimitClass("admin", 50, MINUTE),
        LimitClass("expensive", 10, HOUR),
    )
}


class Verdict(NamedTuple):
    """What the window says: whether the request may go on, how many more may, and seconds until the next frees."""

    limit: LimitClass
    allowed: bool
    remaining: int
    reset: int

    def without_this(self) -> "Verdict":
        """Return the verdict once the request was given back."""
        return self._replace(remaining=self.remaining + 1)

    def headers(self) -> list[tuple[str, str]]:
        """Return both header families (draft-ietf-httpapi-ratelimit-headers, and X-RateLimit-* for older clients)."""
        name, quota = self.limit.name, self.limit.quota
        return [
            ("RateLimit-Policy", f'"{name}";q={quota};w={self.limit.window}'),
            ("RateLimit", f'"{name}";r={self.remaining};t={self.reset}'),
            ("X-RateLimit-Limit", str(quota)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(self.reset)),
        ]

    def problem(self) -> Problem:
        """Return the refusal, to be asked again after `Retry-After` seconds."""
        name, quota, window = self.limit.name, self.limit.quota, self.limit.window
        members: dict[str, Any] = {"retryAfter": self.reset, "violated-policies": [name]}
        return Problem("RATE_LIMITED", f"The limit {name} is {quota} requests in {window} seconds.", **members)


class Window(Protocol):
    """Count one request of a key and judge it; a refused one is not counted.

    `give_back` takes one that was allowed out of the count again: the newest, since only their number matters.
    """

    def hit(self, limit: LimitClass, key: str) -> Verdict: ...

    def give_back(self, limit: LimitClass, key: str) -> None: ...


class MemoryWindow:
    """Keep the times of each key's requests, eight bytes each, for at most `max_keys` keys of a class.

    A hit costs the same however many came before. The key that was quiet the longest is forgotten first.
    """

    def __init__(self, max_keys: int = 50_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._classes: dict[str, OrderedDict[str, array[float]]] = {}

    def hit(self, limit: LimitClass, key: str) -> Verdict:
        now = self._clock()
        with self._lock:
            keys = self._classes.setdefault(limit.name, OrderedDict())
            hits = keys.get(key)
            if hits is None:
                hits = keys[key] = array("d")
            elif expired := bisect_right(hits, now - limit.window):
                del hits[:expired]
            allowed = len(hits) < limit.quota
            if allowed:
                hits.append(now)
                keys.move_to_end(key)
                self._forget_quiet(keys, now - limit.window)
            return Verdict(limit, allowed, max(limit.quota - len(hits), 0), math.ceil(hits[0] + limit.window - now))

    def give_back(self, limit: LimitClass, key: str) -> None:
        with self._lock:
            keys = self._classes.get(limit.name, OrderedDict())
            if hits := keys.get(key):
                hits.pop()
            if key in keys and not hits:
                del keys[key]

    def export(self) -> dict[str, dict[str, list[float]]]:
        """Return the times of requests by class and key; the clock is the machine's, the same for all processes."""
        with self._lock:
            return {name: {key: list(hits) for key, hits in keys.items()} for name, keys in self._classes.items()}

    def merge(self, exported: dict[str, dict[str, list[float]]]) -> None:
        """Add what another process counted."""
        with self._lock:
            for name, keys in exported.items():
                own = self._classes.setdefault(name, OrderedDict())
                for key, hits in keys.items():
                    own[key] = array("d", sorted([*own.get(key, ()), *hits]))

    def _forget_quiet(self, keys: OrderedDict[str, "array[float]"], expired: float) -> None:
        for _ in range(2):
            quiet, hits = next(iter(keys.items()))
            if hits[-1] > expired and len(keys) <= self._max_keys:
                return
            del keys[quiet]
