"""Rate limits in Redis, shared by all gateway processes; while Redis fails, each process counts alone."""

import logging
import math
import time
from collections.abc import Callable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.gateway.rate_limit.classes import LimitClass, Verdict, Window
from services.gateway.rate_limit.limiter import LimiterWindow, item_of

_logger = logging.getLogger("postern.limits")


class RedisWindow(LimiterWindow):
    """A window in Redis; raise RedisError while it fails."""

    def __init__(self, url: str, timeout: float = 0.25) -> None:
        pool = redis.ConnectionPool.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 1)
        )
        # The library's strategies share key names: another strategy needs another prefix.
        super().__init__(url, time.time, {"connection_pool": pool, "key_prefix": "postern:moving"})

    def refund(self, limit: LimitClass, key: str) -> None:
        # The library stores hits with LPUSH.
        self.storage.storage.lpop(self.storage.prefixed_key(item_of(limit).key_for(key)))


class FallbackWindow:
    """Count in the first window; while that fails, in the second, with one warning a minute."""

    PAUSE = 2.0
    WARN_EVERY = 60.0

    def __init__(self, first: Window, second: Window, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = first
        self._second = second
        self._clock = clock
        self._resume = self._warn = -math.inf

    def hit(self, limit: LimitClass, key: str) -> Verdict:
        if self._clock() >= self._resume:
            try:
                return self._first.hit(limit, key)
            except redis.RedisError as error:
                self._fail(error)
        return self._second.hit(limit, key)

    def refund(self, limit: LimitClass, key: str) -> None:
        if self._clock() >= self._resume:
            try:
                return self._first.refund(limit, key)
            except redis.RedisError as error:
                self._fail(error)
        return self._second.refund(limit, key)

    def _fail(self, error: redis.RedisError) -> None:
        now = self._clock()
        self._resume = now + self.PAUSE
        if now >= self._warn:
            self._warn = now + self.WARN_EVERY
            _logger.warning("limits are counted in this process only, since Redis fails: %s", type(error).__name__)
