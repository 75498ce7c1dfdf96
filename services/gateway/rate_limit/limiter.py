"""Rate limiters of Flask-Limiter: exact moving windows by user or client address."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItem, RateLimitItemPerSecond

from services.gateway.rate_limit.classes import LimitClass, Verdict

STRATEGY = "moving-window"


class LimiterWindow:
    """A window of Flask-Limiter; `clock` is that of its storage.

    The gateway counts before Flask has a request. So it calls the strategy that Flask-Limiter builds and not its hooks,
    which stay with a Flask app that is never called.
    """

    def __init__(self, storage_uri: str, clock: Callable[[], float], options: dict[str, Any]) -> None:
        limiter = Limiter(_no_key, storage_uri=storage_uri, storage_options=options, strategy=STRATEGY)
        limiter.init_app(Flask(__name__, static_folder=None))
        self._strategy = limiter.limiter
        self._clock = clock
        self.storage: Any = limiter.storage

    def works(self) -> bool:
        return bool(self.storage.check())

    def hit(self, limit: LimitClass, key: str) -> Verdict:
        item = item_of(limit)
        allowed = self._strategy.hit(item, key)
        reset_time, remaining = self._strategy.get_window_stats(item, key)
        return Verdict(limit, allowed, max(0, remaining), max(1, math.ceil(reset_time - self._clock())))


class _Item(RateLimitItemPerSecond):
    """A limit of the library with a precomputed key, which the library would build twice for each request."""

    __slots__ = ("_end", "_start")

    def __init__(self, limit: LimitClass) -> None:
        super().__init__(limit.quota, limit.window, limit.name)
        self._start = f"{limit.name}/"
        self._end = f"/{limit.quota}/{limit.window}/second"

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return f"{self._start}{identifiers[0]!s}{self._end}"

    def get_expiry(self) -> int:
        return self.multiples


@lru_cache(maxsize=64)
def item_of(limit: LimitClass) -> RateLimitItem:
    """Return the limit for the library; its storage keys begin with the name of the class."""
    return _Item(limit)


def _no_key() -> str:
    raise AssertionError("the gateway names the key itself")
