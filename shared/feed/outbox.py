"""Publish facts to other services: a transactional outbox, served as a feed.

A fact is a row written in the transaction that makes it true. `/internal/feed` serves the rows as batches of
CloudEvents (the HTTP Feeds convention). A consumer (`shared.feed.consumer`) stores its own position, so it loses
nothing while either side is down.

The id of a fact is `<transaction>-<id>`, and facts are served in this order. On PostgreSQL the row's id alone is no
position, since a transaction takes it before its commit. Two interleaved transactions:

| transaction 100 | transaction 101 | consumer |
| --- | --- | --- |
| publishes A: `100-7` | | |
| | publishes B: `101-8`, commits | |
| | | reads: nothing, since 100 still runs |
| commits | | |
| | | reads: A `100-7`, B `101-8` |

If the consumer got B at once, its position would be `101-8`, and it would never read A, which comes before that. So
only facts of transactions older than every running one are served.

Had transaction 100 published A only after the commit of 101, A could follow from B. `publish` then stores the newest
transaction that has ended instead of its own: A gets `101-9`, and stands after B.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import peewee
from flask import Blueprint, Response, request

from shared import clock
from shared.database.connection import Database, execute, is_postgres
from shared.database.database_task import DatabaseTask
from shared.database.fields import TimestampField
from shared.feed.service_client import BATCH
from shared.problems import Problem
from shared.web.internal import require_internal

CONTENT_TYPE = "application/cloudevents-batch+json"
KEPT = timedelta(days=30)
PRUNED = "feed.pruned"  # the type of the oldest fact, once there have been older ones
PRUNING_PAUSE = 3600.0  # seconds
PRUNED_AT_ONCE = 1000  # facts, so that no transaction lasts long

# The own transaction or the newest that has ended, whichever is newer.
_NEWEST = "GREATEST(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)"
# The oldest transaction that runs in this snapshot. Those that are known to run in another database do not count.
_OLDEST_RUNNING = """(
    SELECT COALESCE(MIN(running::text::bigint), pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    FROM pg_snapshot_xip(pg_current_snapshot()) AS running
    WHERE running::xid NOT IN (
        SELECT backend_xid FROM pg_stat_get_activity(NULL)
        WHERE backend_xid IS NOT NULL AND datid <> (SELECT datid FROM pg_stat_get_activity(pg_backend_pid()))
    )
)"""
_event_id = re.compile(r"([0-9]{1,18})-([0-9]{1,18})").fullmatch


class FactColumns(peewee.Model):
    """The columns of a service's fact table; on SQLite, which has one writer at a time, `transaction` is 0."""

    id = peewee.BigAutoField()
    transaction = peewee.BigIntegerField(default=0)
    type = peewee.CharField(max_length=64)
    subject = peewee.CharField(max_length=64)
    data = peewee.TextField()
    created_at = TimestampField(default=clock.now, index=True)

    class Meta:
        indexes = ((("transaction", "id"), False),)


class FeedPositionColumns(peewee.Model):
    """The position of this service in the feed of another."""

    source = peewee.CharField(max_length=64, primary_key=True)
    event_id = peewee.CharField(max_length=64)


class TooFarBehindError(Exception):
    """The facts after the position of a consumer are pruned; `oldest` is the id of the oldest fact that is not."""

    def __init__(self, oldest: str) -> None:
        super().__init__(oldest)
        self.oldest = oldest


class Feed:
    """The facts of one service: `publish` writes them, `blueprint` serves them, `prune` deletes old ones."""

    def __init__(self, name: str, fact: type[FactColumns], database: Database) -> None:
        self._source = f"/{name}"
        self._fact = fact
        self._database = database
        self._insert = f'INSERT INTO {fact._meta.table_name} (type, subject, data, created_at, "transaction")'
        self._look = f'SELECT 1 FROM {fact._meta.table_name} WHERE ("transaction", id) > (?, ?) LIMIT 1'  # noqa: S608 (our own name)
        self.on_commit: Callable[[], None] | None = None  # called after the commit of a fact

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
        """Return the next facts as CloudEvents: those after an event id, otherwise since a moment, otherwise all.

        Raises TooFarBehindError if some of them are pruned, ValueError if `after` is not an event id.
        """
        if after and not self._has_news(after):
            return []
        fact = self._fact
        query = fact.select().order_by(fact.transaction, fact.id).limit(limit)
        if is_postgres(self._database):
            query = query.where(fact.transaction < peewee.SQL(_OLDEST_RUNNING))
        if after:
            query = query.where(peewee.Tuple(fact.transaction, fact.id) > peewee.Tuple(*_parse_event_id(after)))
        elif since:
            # The sum has no index: SQLite would go through all facts in their order to find the few recent ones.
            query = query.where(fact.created_at >= since).order_by(fact.transaction + 0, fact.id)
        rows = list(query)
        if rows and (after or not since):  # a consumer that has read the newest fact has missed nothing
            self._check_reach(rows[0], after)
        return [self._event(row) for row in rows]

    def _has_news(self, after: str) -> bool:
        """Return whether a poll has anything to read. Few have, and this costs a fifth of the whole query."""
        return execute(self._database, self._look, _parse_event_id(after)).fetchone() is not None

    def _check_reach(self, first: FactColumns, after: str | None) -> None:
        fact = self._fact
        oldest = fact.select().order_by(fact.transaction, fact.id).first() if after else first
        place = (oldest.transaction, oldest.id)
        if (oldest.type == PRUNED) if after is None else (_parse_event_id(after) < place):
            raise TooFarBehindError(f"{place[0]}-{place[1]}")

    def prune(self) -> None:
        """Delete the facts older than 30 days except the newest of them.

        That one becomes the mark `feed.pruned`, which says how far the feed reaches back. A consumer whose position is
        the mark has missed nothing. As one fact always stays, SQLite never gives out its ids again.
        """
        fact = self._fact
        old = fact.select().where(fact.created_at < clock.now() - KEPT)
        last = old.order_by(fact.created_at.desc(), fact.id.desc()).first()
        while last and self._prune_some(last):
            pass

    def _prune_some(self, last: FactColumns) -> bool:
        """Delete up to 1000 facts before `last`; return whether there were any."""
        fact = self._fact
        place = peewee.Tuple(fact.transaction, fact.id)
        until = peewee.Tuple(last.transaction, last.id)
        before = fact.select().where(place <= until).order_by(fact.transaction, fact.id)
        with self._database.atomic():
            mark = before.offset(PRUNED_AT_ONCE).first() or last
            gone = fact.delete().where(place < peewee.Tuple(mark.transaction, mark.id)).execute()
            if gone:
                fact.update(type=PRUNED, data="{}").where(fact.id == mark.id).execute()
        return bool(gone)

    def pruning(self) -> DatabaseTask:
        """Return the task that prunes every hour."""
        return DatabaseTask("pruning of the feed", PRUNING_PAUSE, self.prune, self._database)

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
            except TooFarBehindError as error:
                return Response(orjson.dumps({"oldest": error.oldest}), 410, content_type="application/json")
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
