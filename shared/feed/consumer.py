"""Poll the feed of another service in a thread, and hand its facts to handlers.

A wake-up (`wakeup_file.py`, `wakeup_redis.py`) makes a consumer poll at once. Otherwise it polls after:

| the consumer | interval |
| --- | --- |
| has no wake-ups | 0.4 s; in messages 0.2 s |
| has wake-ups | 1.4 s, in case one is lost |
| follows a `MemoryConsumer` of the same feed in its process, which wakes it | 5 s |
| was woken but found no fact, since a running transaction holds it back | 0.4 s |
| has failed | 2 s; for revocations at the start of a process 0.4 s |
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from shared import clock
from shared.feed.service_client import BATCH, GoneError, InternalClient
from shared.periodic_task import PeriodicTask

PAUSE = 0.4
WOKEN_PAUSE = 1.4  # so that a revocation takes effect within 2 seconds even if its wake-up is lost
FOLLOWER_PAUSE = 5.0
RETRY = 2.0

Handler = Callable[[dict[str, Any]], None]
_logger = logging.getLogger("postern.feed")


class HandlerError(Exception):
    """A handler failed on an event."""


class FeedConsumer(PeriodicTask):
    """Poll the feed of one service in a thread, for as long as the process lives."""

    def __init__(self, source: str, url: str, token: str, handlers: Mapping[str, Handler]) -> None:
        super().__init__(f"feed-{source}", PAUSE, self._read)
        self.source = source
        self.last_event_id: str | None = None
        self.after_failure = RETRY
        self._handlers = handlers
        self._client = InternalClient(url, token)
        self._news = threading.Event()
        self._is_woken = False  # from time to time
        self._was_woken = False  # just now
        self._found = 0

    def stop(self) -> None:
        """Let the thread end, without waiting for the answer that it may wait for."""
        self.stopping.set()
        self._news.set()

    def wake(self) -> None:
        """Poll at once, and from now on rely on wake-ups."""
        self._is_woken = True
        self._news.set()

    def expect_no_wakeups(self) -> None:
        """Poll at once, and from now on as often as a consumer without wake-ups."""
        self._is_woken = False
        self._news.set()

    def _read(self) -> None:
        self._found = BATCH
        while self._found == BATCH and not self.stopping.is_set():
            self._found = self.read_batch()

    def _rest(self, worked: bool) -> None:
        usual = max(self.pause, WOKEN_PAUSE) if self._is_woken else self.pause
        pause = min(usual, PAUSE) if self._was_woken and not self._found else usual
        self._was_woken = self._news.wait(pause if worked else self.after_failure)
        self._news.clear()

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, OSError):
            _logger.warning("feed of %s cannot be read: %s", self.source, error)
        else:
            _logger.error("feed of %s stands still and is tried again: %s", self.source, error, exc_info=error)

    def read_batch(self) -> int:
        """Read one batch, call the handler of each event, move the position; return the number of events."""
        try:
            events = self._client.get_json("/internal/feed", self._position())
        except GoneError as gone:
            _logger.warning("feed of %s does not reach back to where we were; starting over", self.source)
            self._start_over(gone.content["oldest"])
            return BATCH
        if events:
            self._apply(events)
        return len(events)

    def _start_over(self, oldest: str) -> None:
        """Recover from missed facts; the oldest fact of the feed has this id."""
        raise NotImplementedError

    def _position(self) -> dict[str, str]:
        raise NotImplementedError

    def _apply(self, events: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def _handle(self, event: dict[str, Any]) -> None:
        if handler := self._handlers.get(event["type"]):
            try:
                handler(event)
            except Exception as error:
                raise HandlerError(f"{event['type']} {event['id']}") from error


class Wakeup(Protocol):
    """Hints between processes that a feed has new facts; a lost hint delays a fact until the next poll."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def subscribe(self, consumer: FeedConsumer) -> None:
        """Wake this consumer when its source has new facts."""

    def notify(self) -> None:
        """Wake the consumers of this service's feed."""


class MemoryConsumer(FeedConsumer):
    """Keep state in the memory of this process; at its start, read the facts of the last `look_back` seconds."""

    def __init__(self, *details: Any, look_back: float) -> None:
        super().__init__(*details)
        self._look_back = look_back
        self._followers: list[FeedConsumer] = []

    def add_follower(self, consumer: FeedConsumer) -> None:
        """Wake another consumer of the same feed after each batch, so that it polls less often."""
        self._followers.append(consumer)
        consumer.pause = FOLLOWER_PAUSE

    def _position(self) -> dict[str, str]:
        if self.last_event_id:
            return {"lastEventId": self.last_event_id}
        return {"since": clock.rfc3339(clock.now() - timedelta(seconds=self._look_back))}

    def _start_over(self, oldest: str) -> None:
        self.last_event_id = None

    def _apply(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._handle(event)
            self.last_event_id = event["id"]
        for follower in self._followers:
            follower.wake()
