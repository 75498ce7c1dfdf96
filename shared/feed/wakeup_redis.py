"""Wake feed consumers by a Redis message at each commit, so that they need not wait for their next poll.

A message is only a hint: a consumer that misses one gets the fact at its next poll.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import chain

import redis

from shared.feed.consumer import FeedConsumer

CHANNEL = "postern:feed:"
RETRY = 5.0  # seconds after a failure
TIMEOUT = 2.0
SILENCE = 0.5  # seconds without a message until a PING, and from there until Redis counts as down
GAP = 0.01  # least seconds between two messages

_logger = logging.getLogger("postern.waking")


class RedisWakeup:
    """Publish a message at each commit of a fact; wake consumers by the messages of their sources. Two threads."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._channel = f"{CHANNEL}{name}"
        self._consumers: dict[bytes, list[FeedConsumer]] = defaultdict(list)
        self._news = threading.Event()
        self._stopping = threading.Event()

    def subscribe(self, consumer: FeedConsumer) -> None:
        self._consumers[f"{CHANNEL}{consumer.source}".encode()].append(consumer)

    def notify(self) -> None:
        """Have the thread publish a message; never block."""
        self._news.set()

    def start(self) -> None:
        client = redis.Redis.from_url(self._url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        for work in (self._tell, self._listen):
            threading.Thread(target=self._keep, args=(work, client), name="waking", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()

    def _keep(self, work: Callable[[redis.Redis], None], client: redis.Redis) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                work(client)
                failures = 0
            except redis.RedisError as error:
                if not failures:
                    _logger.warning("consumers are not woken, since Redis fails: %s", type(error).__name__)
                failures += 1
                for consumer in chain.from_iterable(self._consumers.values()):
                    consumer.expect_no_wakeups()
                self._stopping.wait(RETRY)

    def _tell(self, client: redis.Redis) -> None:
        self._news.wait()
        self._news.clear()
        client.publish(self._channel, b"")
        self._stopping.wait(GAP)

    def _listen(self, client: redis.Redis) -> None:
        """Wake consumers by the messages of their sources; the confirmation of the subscription counts as a message."""
        with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(*self._consumers)
            asked = False
            while not self._stopping.is_set():
                if message := pubsub.get_message(timeout=SILENCE):
                    asked = False
                    for consumer in self._consumers.get(message["channel"], ()):
                        consumer.wake()
                elif asked:
                    raise redis.TimeoutError("no answer")
                else:
                    pubsub.ping()
                    asked = True
