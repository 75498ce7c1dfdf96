"""Wake feed consumers by a Redis message at each commit, so that they need not wait for their next poll.

A message is only a hint: whoever misses one finds the fact at the next question.
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
SILENCE = 0.5  # seconds without a message after which Redis is asked whether it is there, and has to say so
GAP = 0.01  # seconds between two messages, however many facts there are

_logger = logging.getLogger("postern.waking")


class RedisWakeup:
    """Tell of facts published here, and wake the readers here of those published elsewhere, in two threads."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._channel = f"{CHANNEL}{name}"
        self._readers: dict[bytes, list[FeedConsumer]] = defaultdict(list)
        self._news = threading.Event()
        self._stopping = threading.Event()

    def subscribe(self, reader: FeedConsumer) -> None:
        """Wake this reader from now on."""
        self._readers[f"{CHANNEL}{reader.source}".encode()].append(reader)

    def notify(self) -> None:
        """Have the others told that there is news; return at once."""
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
                    _logger.warning("readers are not woken, since Redis fails: %s", type(error).__name__)
                failures += 1
                for reader in chain.from_iterable(self._readers.values()):
                    reader.wake_no_more()
                self._stopping.wait(RETRY)

    def _tell(self, client: redis.Redis) -> None:
        self._news.wait()
        self._news.clear()
        client.publish(self._channel, b"")
        self._stopping.wait(GAP)

    def _listen(self, client: redis.Redis) -> None:
        """Wake readers by the messages of their sources; that one is listened to now counts as the first of them."""
        with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(*self._readers)
            asked = False
            while not self._stopping.is_set():
                if message := pubsub.get_message(timeout=SILENCE):
                    asked = False
                    for reader in self._readers.get(message["channel"], ()):
                        reader.wake()
                elif asked:
                    raise redis.TimeoutError("no answer")
                else:
                    pubsub.ping()
                    asked = True
