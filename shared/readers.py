"""Follow what became true in another service: `shared.feed` tells it."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from shared import clock
from shared.db import Database, drop_broken
from shared.feed import BATCH, PositionColumns
from shared.ids import first_id
from shared.internal import GoneError, InternalClient

PAUSE = 0.4  # seconds between two questions of a reader
WOKEN_PAUSE = 1.4  # seconds for one that is woken: what ends early ends within 2 seconds, even if a hint is lost
FOLLOWER_PAUSE = 5.0  # seconds for a reader that another one wakes
RETRY = 2.0  # seconds after a question that failed
REMIND = 30  # failures from one line in the log to the next
SETTLED = timedelta(minutes=5)  # who is younger may be missing in a table that was read just before

Handler = Callable[[dict[str, Any]], None]
_logger = logging.getLogger("postern.feed")


class HandlerError(Exception):
    """A handler failed on an event."""


class Reader:
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


class MemoryReader(Reader):
    """Fill the memory of this process; at the start it reads back `look_back` seconds."""

    def __init__(self, *details: Any, look_back: float) -> None:
        super().__init__(*details)
        self._look_back = look_back
        self._followers: list[Reader] = []

    def lead(self, reader: Reader) -> None:
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


class Page(NamedTuple):
    """Some rows of an owner's table: all that there are whose ids come after `after`, up to `last`."""

    rows: list[dict[str, Any]]
    after: str
    last: str

    @property
    def ids(self) -> set[str]:
        return {row["id"] for row in self.rows}


class DatabaseReader(Reader):
    """Change this service's database: each batch and the new position are one transaction.

    Several processes may read the same feed: whoever moves the position first has applied the batch, and the
    others' transaction is undone. Handlers take a fact twice, since all that the feed keeps is read again after a
    `rebuild`.
    """

    def __init__(self, *details: Any, database: Database, position: type[PositionColumns]) -> None:
        super().__init__(*details)
        self._database = database
        self._positions = position

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._database.close()

    def read_batch(self) -> int:
        try:
            return super().read_batch()
        finally:
            drop_broken(self._database)

    def rebuild(self) -> None:
        """Do what the facts that were missed would have done; `pages` reads the owner's tables."""
        raise NotImplementedError

    def pages(self, path: str, *, may_be_empty: bool = False) -> Iterator[Page]:
        """Read a table of the owner. Ids made in the last minutes are left to the feed."""
        after, end = "", first_id(clock.now() - SETTLED)
        while after < end:
            rows = [row for row in self._client.get_json(path, {"after": after}) if row["id"] <= end]
            if not (rows or after or may_be_empty):
                raise OSError(f"{path} of {self.source} is empty, which may be the wrong database")
            last = rows[-1]["id"] if rows else end
            yield Page(rows, after, last)
            after = last

    def _start_over(self, oldest: str) -> None:
        self.rebuild()
        with self._database.atomic():
            self._move_position(oldest)

    def _position(self) -> dict[str, str]:
        row = self._positions.get_or_none(self._positions.source == self.source)
        self.last_event_id = row.event_id if row else None
        return {"lastEventId": self.last_event_id} if self.last_event_id else {}

    def _apply(self, events: list[dict[str, Any]]) -> None:
        try:
            self._commit(events)
        except HandlerError:
            if len(events) == 1:
                raise
            for event in events:
                self._commit([event])

    def _commit(self, events: list[dict[str, Any]]) -> None:
        """Apply the events, unless another process was faster; several of them all or none."""
        last = events[-1]["id"]
        with self._database.atomic():
            if self._move_position(last):
                for event in events:
                    self._handle(event)
        self.last_event_id = last

    def _move_position(self, event_id: str) -> bool:
        positions = self._positions
        if self.last_event_id is None:
            row = positions.insert(source=self.source, event_id=event_id).on_conflict_ignore()
            return bool(row.as_rowcount().execute())
        return bool(
            positions.update(event_id=event_id)
            .where(positions.source == self.source, positions.event_id == self.last_event_id)
            .execute()
        )
