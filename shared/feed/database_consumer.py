"""Apply the feed of another service to this service's database: batch and position are one transaction."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from shared import clock
from shared.database.database_task import UsesDatabase
from shared.database.errors import log_failure
from shared.feed.consumer import FeedConsumer, HandlerError
from shared.feed.outbox import FeedPositionColumns
from shared.ids import first_id

SETTLED = timedelta(minutes=5)  # rows younger than this may be missing in a page read before their commit

_logger = logging.getLogger("postern.feed")


class Page(NamedTuple):
    """All rows of the source's table with `after` < id <= `last`."""

    rows: list[dict[str, Any]]
    after: str
    last: str

    @property
    def ids(self) -> set[str]:
        return {row["id"] for row in self.rows}


class DatabaseConsumer(UsesDatabase, FeedConsumer):
    """A consumer whose position is in this service's database.

    Several processes may poll the same feed. The first that moves the position applies the batch; the others apply
    nothing. Handlers must be idempotent, since a `rebuild` reads all facts of the feed again.

    Example: processes A and B read the facts 8 and 9 at position 7. Both run `UPDATE … SET event_id = 9 WHERE event_id
    = 7`. B's waits for A's row lock, then changes no row, so B skips its handlers.
    """

    def __init__(self, *details: Any, position: type[FeedPositionColumns]) -> None:
        super().__init__(*details)
        self._database = position._meta.database
        self._positions = position

    def rebuild(self) -> None:
        """Make up for missed facts from the source's tables, which `pages` reads."""
        raise NotImplementedError

    def pages(self, path: str, *, may_be_empty: bool = False) -> Iterator[Page]:
        """Yield the rows of a table of the source in pages by id, without ids younger than five minutes.

        Raises OSError if the table is empty and must not be, which may mean the wrong database.
        """
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

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, OSError):  # of the source, not of our database
            super()._log_failure(error)
        else:
            log_failure(_logger, f"feed of {self.source} stands still and is tried again", error)

    def _apply(self, events: list[dict[str, Any]]) -> None:
        try:
            self._commit(events)
        except HandlerError:
            if len(events) == 1:
                raise
            for event in events:
                self._commit([event])

    def _commit(self, events: list[dict[str, Any]]) -> None:
        """Apply all events or none; none if another process has applied them already."""
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


class SingleFactConsumer(DatabaseConsumer):
    """Commit each fact that has a handler alone: locks of two facts in one transaction could deadlock.

    For example, facts lock posts 2 and 1, while the deletion of their category locks posts 1 and 2. A `rebuild` has a
    transaction for each row too.
    """

    def _apply(self, events: list[dict[str, Any]]) -> None:
        group = []
        for event in events:
            group.append(event)
            if event["type"] in self._handlers or event is events[-1]:
                self._commit(group)
                group = []
