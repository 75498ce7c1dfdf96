"""Keep the answers of one gateway right while others purge too: every purge goes through a log in Redis."""

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
KEPT = 1000  # purges in the log; who has missed more forgets all
EVERYTHING = "*"
DOUBTED = "~"  # before tags that are outdated only; a gateway that does not know it forgets them, which is no harm
MAX_UNTOLD = 1000  # purges; with more, everything is purged
TIMEOUT = 0.25
PAUSE = 2.0  # seconds after a failure in which reads do not try
WARN_EVERY = 60.0
_START = 10**12  # a lost number begins anew at random, so that nobody takes it for one that is known
_TELL = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
for line = 2, #ARGV do
    local number = redis.call('INCR', KEYS[1])
    redis.call('ZADD', KEYS[2], number, string.format('%.0f ', number) .. ARGV[line])
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -{KEPT + 1})
"""
_logger = logging.getLogger("postern.cache")


class RedisInvalidatedStore(Store):
    """A store that hears, before each look into it, of all that any gateway has purged.

    Purges are numbered. As long as the number in Redis is the one heard last, which costs one short question, nothing
    has changed. Whatever may have been lost (a gap in the log, a failure, a new connection, behind which Redis may
    have been away) is met by forgetting all; a purge that Redis did not take is told when it is back.

    The question is a write that changes nothing. A Redis that answers reads but refuses writes (a replica, a full
    memory) takes no purges either, so what is kept here cannot be trusted.
    """

    def __init__(self, max_bytes: int, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(max_bytes)
        self._clock = clock
        self._heard: int | None = None
        self._untold: dict[int, tuple[bool, set[str]]] = {}
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
        self.catch_up()
        return super().find(target, environ)

    def purge(self, tags: Iterable[str]) -> None:
        """Have the answers with these tags forgotten everywhere, as soon as Redis can be reached."""
        tags = set(tags)
        self.forget(tags)
        self._announce(False, tags)

    def doubt(self, tags: Iterable[str]) -> None:
        """Have the answers with these tags outdated everywhere, as soon as Redis can be reached."""
        tags = set(tags)
        self.outdate(tags)
        self._announce(True, tags)

    def _announce(self, doubted: bool, tags: set[str]) -> None:
        if len(self._untold) >= MAX_UNTOLD:
            self._untold, doubted, tags = {}, False, {EVERYTHING}
        self._untold[next(self._purges)] = doubted, tags
        with suppress(StoreUnavailable):
            self._ask(self._tell)

    def catch_up(self) -> None:
        """Forget what others have purged; raise StoreUnavailable while that cannot be known."""
        if self._clock() < self._resume:
            raise StoreUnavailable
        self._ask(self._hear)

    def close(self) -> None:
        self._redis.close()

    def _ask(self, work: Callable[[], None]) -> None:
        """Do something with Redis; when the connection turns out to be dead, once more on a new one."""
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
        self._heard = None
        if now >= self._warn:
            self._warn = now + WARN_EVERY
            _logger.warning("no answers are kept, since Redis fails: %s", type(error).__name__)

    def _on_connect(self, connection: Any) -> None:
        self.clear()
        connection.on_connect()

    def _tell(self) -> None:
        untold = self._untold.copy()
        told: dict[bool, set[str]] = {}
        for doubted, tags in untold.values():
            told.setdefault(doubted, set()).update(tags)
        lines = [orjson.dumps([DOUBTED, *tags] if doubted else [*tags]) for doubted, tags in told.items()]
        self._redis.eval(_TELL, 2, NUMBER, LOG, secrets.randbelow(_START), *lines)
        for purge in untold:
            self._untold.pop(purge, None)

    def _hear(self) -> None:
        if self._untold:
            self._tell()
        number = self._redis.set(NUMBER, secrets.randbelow(_START), nx=True, get=True)
        if number is None or int(number) != self._heard:
            self._read_log()

    def _read_log(self) -> None:
        """Apply what is new; who hears the same at the same time may do it again."""
        heard = self._heard
        with self._redis.pipeline() as questions:
            questions.get(NUMBER)
            questions.zrangebyscore(LOG, f"({heard or 0}", "+inf")
            number, news = questions.execute()
        lines = [orjson.loads(line.partition(b" ")[2]) for line in news]
        if heard is None or len(news) != int(number or 0) - heard or any(EVERYTHING in line for line in lines):
            self.clear()
        else:
            self._apply(lines)
        if self._heard == heard:
            self._heard = int(number or 0)

    def _apply(self, lines: list[list[str]]) -> None:
        for line in lines:
            if line[:1] == [DOUBTED]:
                self.outdate(line[1:])
            else:
                self.forget(line)
