"""Tell other services what became true here, and follow what became true there.

A fact is a row written in the transaction that makes it true. `/internal/feed` serves the rows in the order
of their commits as batches of CloudEvents (the HTTP Feeds convention), and a reader keeps its own position,
so nothing is lost while either side is down.
"""

import logging
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import peewee
from flask import Blueprint, Response, request

from shared import clock
from shared.db import Database, TimestampField, drop_broken, execute, is_postgres
from shared.internal import InternalClient, require_internal
from shared.problems import Problem

CONTENT_TYPE = "application/cloudevents-batch+json"
BATCH = 500
PAUSE = 0.4  # seconds between two questions of a reader
FOLLOWER_PAUSE = 5.0  # seconds for a reader that another one wakes
RETRY = 2.0  # seconds after a question that failed
REMIND = 30  # failures from one line in the log to the next

_NEWEST = "GREATEST(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)"
_OLDEST_RUNNING = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_event_id = re.compile(r"([0-9]{1,18})-([0-9]{1,18})").fullmatch
_logger = logging.getLogger("postern.feed")


class FactColumns(peewee.Model):
    """The columns of a service's fact table.

    PostgreSQL hands out an id before its commit, so facts are ordered by transaction first, and only those
    are served whose transaction is older than every one that still runs. A transaction that began
    early may publish late, though: it counts as the newest that had ended when it published, so that what it
    saw of others stands before what it says itself.
    """

    id = peewee.BigAutoField()
    transaction = peewee.BigIntegerField(default=0)
    type = peewee.CharField(max_length=64)
    subject = peewee.CharField(max_length=64)
    data = peewee.TextField()
    created_at = TimestampField(default=clock.now, index=True)

    class Meta:
        indexes = ((("transaction", "id"), False),)


class PositionColumns(peewee.Model):
    """How far this service has read in the feed of another."""

    source = peewee.CharField(max_length=64, primary_key=True)
    event_id = peewee.CharField(max_length=64)


Handler = Callable[[dict[str, Any]], None]


class Feed:
    """The facts of one service: `publish` writes them, `blueprint` serves them."""

    def __init__(self, name: str, fact: type[FactColumns], database: Database) -> None:
        self._source = f"/{name}"
        self._fact = fact
        self._database = database
        self._insert = f'INSERT INTO {fact._meta.table_name} (type, subject, data, created_at, "transaction")'
        self.on_commit: Callable[[], None] | None = None  # called when a fact has become true

    def publish(self, type: str, subject: str, data: Mapping[str, Any]) -> None:
        """Write a fact; call it inside the transaction that makes it true."""
        if not self._database.in_transaction():
            raise RuntimeError("a fact is published inside the transaction that makes it true")
        transaction = _NEWEST if is_postgres(self._database) else "0"
        values = (type, subject, orjson.dumps(data).decode(), clock.rfc3339(clock.now()))
        execute(self._database, f"{self._insert} VALUES (?, ?, ?, ?, {transaction})", values)
        if self.on_commit:
            self._database.after_commit(self.on_commit)

    def read(self, after: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
        """Return the next facts as CloudEvents: those after an event id, else those since a moment, else all."""
        fact = self._fact
        query = fact.select().order_by(fact.transaction, fact.id).limit(limit)
        if is_postgres(self._database):
            query = query.where(fact.transaction < peewee.SQL(_OLDEST_RUNNING))
        if after:
            query = query.where(peewee.Tuple(fact.transaction, fact.id) > peewee.Tuple(*_parse_event_id(after)))
        elif since:
            # The sum has no index: SQLite would go through all facts in their order to find the few recent ones.
            query = query.where(fact.created_at >= since).order_by(fact.transaction + 0, fact.id)
        return [self._event(row) for row in query]

    def _event(self, row: FactColumns) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"{row.transaction}-{row.id}",
            "source": self._source,
            "type": row.type,
            "subject": row.subject,
            "time": row.created_at,
            "datacontenttype": "application/json",
            "data": orjson.Fragment(row.data),
        }

    def blueprint(self) -> Blueprint:
        """Return the blueprint of `GET /internal/feed?lastEventId=&since=&limit=`."""
        blueprint = Blueprint("feed", __name__)

        @blueprint.get("/internal/feed")
        def batch() -> Response:
            require_internal()
            since, limit = request.args.get("since"), request.args.get("limit", str(BATCH))
            try:
                moment = datetime.fromisoformat(since) if since else None
                events = self.read(request.args.get("lastEventId"), moment, _parse_limit(limit))
            except (ValueError, OverflowError) as error:
                raise Problem("BAD_REQUEST", "The position or the limit is not valid.") from error
            return Response(orjson.dumps(events, option=orjson.OPT_UTC_Z), content_type=CONTENT_TYPE)

        return blueprint


def _parse_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= BATCH):
        raise ValueError("not a limit")
    return int(text)


def _parse_event_id(text: str) -> tuple[int, int]:
    if not (numbers := _event_id(text)):
        raise ValueError("not an event id")
    return int(numbers[1]), int(numbers[2])


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
        self._pause = PAUSE
        self._retry = RETRY

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"feed-{self.source}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()

    def wake(self) -> None:
        """Ask again at once."""
        self._news.set()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                while self.read_batch() == BATCH and not self._stopping.is_set():
                    pass
                failures = 0
            except Exception as error:  # noqa: BLE001 (a reader never dies)
                if failures % REMIND == 0:
                    self._complain(error)
                failures += 1
            self._news.wait(self._retry if failures else self._pause)
            self._news.clear()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, OSError):
            _logger.warning("feed of %s cannot be read: %s", self.source, error)
        else:
            _logger.error("feed of %s stands still and is tried again: %s", self.source, error, exc_info=error)

    def read_batch(self) -> int:
        """Read one batch, hand each event to its handler, keep the position; return the number of events."""
        events = self._client.get_json("/internal/feed", self._position())
        if events:
            self._apply(events)
        return len(events)

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
        reader._pause = FOLLOWER_PAUSE

    def _position(self) -> dict[str, str]:
        if self.last_event_id:
            return {"lastEventId": self.last_event_id}
        return {"since": clock.rfc3339(clock.now() - timedelta(seconds=self._look_back))}

    def _apply(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._handle(event)
            self.last_event_id = event["id"]
        for follower in self._followers:
            follower.wake()


class DatabaseReader(Reader):
    """Change this service's database: each batch and the new position are one transaction.

    Several processes may read the same feed: whoever moves the position first has applied the batch, and the
    others' transaction is undone.
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
