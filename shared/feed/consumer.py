"""Follow the feed of another service, with its position in the memory of this process."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from shared import clock
from shared.feed.service_client import BATCH, GoneError, InternalClient
from shared.periodic_task import REMIND

PAUSE = 0.4  # seconds between two questions of a reader
WOKEN_PAUSE = 1.4  # seconds for one that is woken: what ends early ends within 2 seconds, even if a hint is lost
FOLLOWER_PAUSE = 5.0  # seconds for a reader that another one wakes
RETRY = 2.0  # seconds after a question that failed

Handler = Callable[[dict[str, Any]], None]
_logger = logging.getLogger("postern.feed")


class HandlerError(Exception):
    """A handler failed on an event."""


class FeedConsumer:
    """Follow the feed of another service in a thread of its own, for as long as the process lives."""

    def __init__(self, source: str, url: str, token: str, handlers: Mapping[str, Handler]) -> None:
        self.source = source
        self.last_event_id: str | None = None
        self._handlers = handlers
        self._client = InternalClient(url, token)
        self._stopping = threading.Event()
        self._news = threading.Event()
        self.pause = PAUSE  # unless it is woken
        self._is_woken = False
        self._retry = RETRY

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"feed-{self.source}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()

    def wake(self) -> None:
        """Ask again at once, and from now on less often without being woken."""
        self._is_woken = True
        self._news.set()

    def wake_no_more(self) -> None:
        """Ask again at once, and from now on as often as nobody wakes it."""
        self._is_woken = False
        self._news.set()

    def _run(self) -> None:
        failures, woken, found = 0, False, 0
        while not self._stopping.is_set():
            try:
                while (found := self.read_batch()) == BATCH and not self._stopping.is_set():
                    pass
                failures = 0
            except Exception as error:  # noqa: BLE001 (a reader never dies)
                if failures % REMIND == 0:
                    self._complain(error)
                failures += 1
            usual = max(self.pause, WOKEN_PAUSE) if self._is_woken else self.pause
            # A fact that was told of may be held back by a transaction that still runs.
            pause = min(usual, PAUSE) if woken and not found else usual
            woken = self._news.wait(self._retry if failures else pause)
            self._news.clear()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, OSError):
            _logger.warning("feed of %s cannot be read: %s", self.source, error)
        else:
            _logger.error("feed of %s stands still and is tried again: %s", self.source, error, exc_info=error)

    def read_batch(self) -> int:
        """Read one batch, hand each event to its handler, keep the position; return the number of events."""
        try:
            events = self._client.get_json("/internal/feed", self._position())
        except GoneError as gone:
            _logger.warning("feed of %s does not reach back to where we were; starting over", self.source)
            self._start_over(gone.answer["oldest"])
            return BATCH  # there is more
        if events:
            self._apply(events)
        return len(events)

    def _start_over(self, oldest: str) -> None:
        """Go on with what the feed keeps, whose oldest fact has this id."""
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
    """Hints between processes that a feed has news, so that readers need not poll often; a lost one only costs time."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def subscribe(self, reader: FeedConsumer) -> None:
        """Wake this reader from now on when its source has news."""

    def notify(self) -> None:
        """Let the readers of this service's feed know of news."""


class MemoryConsumer(FeedConsumer):
    """Fill the memory of this process; at the start it reads back `look_back` seconds."""

    def __init__(self, *details: Any, look_back: float) -> None:
        super().__init__(*details)
        self._look_back = look_back
        self._followers: list[FeedConsumer] = []

    def lead(self, reader: FeedConsumer) -> None:
        """Wake a reader of the same feed when there is news, so that it need not ask all the time itself."""
        self._followers.append(reader)
        reader.pause = FOLLOWER_PAUSE

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
