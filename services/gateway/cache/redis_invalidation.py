"""Cache invalidation between gateway processes: every purge goes through a log in Redis."""

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.gateway.cache.store import Entry, Store, StoreUnavailable

NUMBER, LOG = "postern:cache:number", "postern:cache:purges"
MAX_LOG = 1000  # purges in the log; a process that has missed more clears its store
EVERYTHING = "*"
SOFT = "~"  # before the tags of a soft purge; an older gateway that does not know it purges them, which does no harm
MAX_UNPUBLISHED = 1000  # purges; with more, everything is purged
TIMEOUT = 0.25
PAUSE = 2.0  # seconds after a failure in which reads do not ask Redis
WARN_EVERY = 60.0
_MAX_START = 10**12  # a lost number restarts at random, so that no process takes it for one that it has seen
_PUBLISH = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
for line = 2, #ARGV do
    local number = redis.call('INCR', KEYS[1])
    redis.call('ZADD', KEYS[2], number, string.format('%.0f ', number) .. ARGV[line])
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -{MAX_LOG + 1})
"""
_logger = logging.getLogger("postern.cache")


class RedisInvalidatedStore(Store):
    """A store that applies the purges of all gateway processes before each lookup.

    Purges are numbered, and each lookup reads the number of the last purge from Redis. The store clears itself if it
    may have missed a purge: after a gap in the log, a failure or a new connection. A purge that Redis did not take is
    published when Redis is back.

    The number is read with a write that changes nothing. A Redis that answers reads but refuses writes (a replica, a
    full memory) takes no purges, so the entries here could be out of date.

    Example: process A has applied purge 41. Process B purges `post-7` as number 42. The next lookup in A reads 42, gets
    the log from 42 on and purges `post-7` before it looks. Had it read 1,500, with a log of 501 to 1,500, it would
    clear its store.
    """

    def __init__(self, max_bytes: int, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(max_bytes)
        self._clock = clock
        self._seen: int | None = None
        self._unpublished: dict[int, tuple[bool, set[str]]] = {}
        self._purges = count()
        self._resume = self._warn = -math.inf
        pool = redis.ConnectionPool.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._on_connect,
        )
        self._redis = redis.Redis(connection_pool=pool)

    def find(self, target: str, environ: Mapping[str, Any]) -> Entry | None:
        self.apply_invalidations()
        return super().find(target, environ)

    def purge(self, tags: Iterable[str]) -> None:
        """Purge the entries with these tags here, and in all gateway processes as soon as Redis can be reached."""
        tags = set(tags)
        self.purge_local(tags)
        self._announce(False, tags)

    def soft_purge(self, tags: Iterable[str]) -> None:
        """Expire the entries with these tags here, and in all gateway processes as soon as Redis can be reached."""
        tags = set(tags)
        self.soft_purge_local(tags)
        self._announce(True, tags)

    def _announce(self, soft: bool, tags: set[str]) -> None:
        if len(self._unpublished) >= MAX_UNPUBLISHED:
            self._unpublished, soft, tags = {}, False, {EVERYTHING}
        self._unpublished[next(self._purges)] = soft, tags
        with suppress(StoreUnavailable):
            self._run(self._publish)

    def apply_invalidations(self) -> None:
        """Apply the purges of other gateway processes; raise StoreUnavailable while Redis fails."""
        if self._clock() < self._resume:
            raise StoreUnavailable
        self._run(self._poll)

    def close(self) -> None:
        self._redis.close()

    def _run(self, work: Callable[[], None]) -> None:
        """Run a command on Redis; if the pooled connection is broken, once more on a new one."""
        try:
            try:
                work()
            except redis.ConnectionError:
                work()
        except redis.RedisError as error:
            self._fail(error)
            raise StoreUnavailable from error

    def _fail(self, error: redis.RedisError) -> None:
        now = self._clock()
        self._resume = now + PAUSE
        self._seen = None
        if now >= self._warn:
            self._warn = now + WARN_EVERY
            _logger.warning("no answers are kept, since Redis fails: %s", type(error).__name__)

    def _on_connect(self, connection: Any) -> None:
        self.clear()
        connection.on_connect()

    def _publish(self) -> None:
        unpublished = self._unpublished.copy()
        published: dict[bool, set[str]] = {}
        for soft, tags in unpublished.values():
            published.setdefault(soft, set()).update(tags)
        lines = [orjson.dumps([SOFT, *tags] if soft else [*tags]) for soft, tags in published.items()]
        self._redis.eval(_PUBLISH, 2, NUMBER, LOG, secrets.randbelow(_MAX_START), *lines)
        for purge in unpublished:
            self._unpublished.pop(purge, None)

    def _poll(self) -> None:
        if self._unpublished:
            self._publish()
        number = self._redis.set(NUMBER, secrets.randbelow(_MAX_START), nx=True, get=True)
        if number is None or int(number) != self._seen:
            self._read_log()

    def _read_log(self) -> None:
        """Apply the new purges; several threads may apply the same one."""
        seen = self._seen
        with self._redis.pipeline() as commands:
            commands.get(NUMBER)
            commands.zrangebyscore(LOG, f"({seen or 0}", "+inf")
            number, new = commands.execute()
        lines = [orjson.loads(line.partition(b" ")[2]) for line in new]
        if seen is None or len(new) != int(number or 0) - seen or any(EVERYTHING in line for line in lines):
            self.clear()
        else:
            self._apply(lines)
        if self._seen == seen:
            self._seen = int(number or 0)

    def _apply(self, lines: list[list[str]]) -> None:
        for line in lines:
            if line[:1] == [SOFT]:
                self.soft_purge_local(line[1:])
            else:
                self.purge_local(line)
