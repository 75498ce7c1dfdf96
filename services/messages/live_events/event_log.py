"""The log of live events in commit order, kept for seven days."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import peewee

from services.messages.models import Event, EventHead, database
from shared import clock
from shared.database.locking import delete_unlocked

KEPT = timedelta(days=7)

on_commit: Callable[[], object] | None = None  # called after the commit of an event


def lock() -> None:
    """Block other appends until this transaction ends.

    A transaction that changes several rows which a feed consumer may change too takes this lock first. So the two
    cannot deadlock.
    """
    EventHead.update(last=EventHead.last).execute()


def append(
    topic: str,
    data: Mapping[str, Any],
    *,
    subject: str | None = None,
    user_id: str | None = None,
    post_id: str | None = None,
    moment: datetime | None = None,
) -> None:
    """Append an event for all clients, or for one user; drop it if it is older than seven days.

    `data` has an `id`, which is the default of `subject`. `delete_about` deletes the event by its subject or post.
    Raises RuntimeError outside a transaction.
    """
    if not database.in_transaction():
        raise RuntimeError("an event is appended inside the transaction that makes it true")
    moment, now = moment or clock.now(), clock.now()
    if moment < now - KEPT:
        return
    Event.insert(
        id=EventHead.next(),
        topic=topic,
        subject=subject or data["id"],
        post_id=post_id,
        user_id=user_id,
        data=orjson.dumps(data, option=orjson.OPT_UTC_Z).decode(),
        created_at=moment,
    ).execute()
    if on_commit:
        database.after_commit(on_commit)


def delete_about(subject: str) -> None:
    """Delete the events about a post and its comments, or about a comment, so that no client gets them later."""
    Event.delete().where((Event.subject == subject) | (Event.post_id == subject)).execute()


def delete_private_about(subject: str) -> None:
    """Delete the events for single users about a post and its comments, or about a comment."""
    about = (Event.subject == subject) | (Event.post_id == subject)
    Event.delete().where(Event.user_id.is_null(False), about).execute()


def delete_user(user_id: str) -> None:
    """Delete the events for this user, and the notifications of other users about them."""
    names = (Event.topic == "notification") & Event.data.contains(user_id)
    Event.delete().where((Event.user_id == user_id) | names).execute()


def reset() -> None:
    """Delete all events; clients that reconnect get `resync`."""
    EventHead.next()
    Event.delete().execute()


def newest() -> int:
    """Return the id of the newest event, 0 before the first."""
    return int(EventHead.select(EventHead.last).scalar())


def reaches_back_to(event_id: int) -> bool:
    """Return whether all events after this one are still in the log."""
    last, oldest = newest(), Event.select(peewee.fn.MIN(Event.id)).scalar()
    return bool((last if oldest is None else oldest - 1) <= event_id <= last)


def page(after: int, last: int, limit: int) -> list[Event]:
    """Return the next events, of all users and topics."""
    return list(Event.between(after, last, limit))


def page_for(user_id: str | None, topics: Collection[str], after: int, last: int, limit: int) -> list[Event]:
    """Return the next events of these topics that a user, or an anonymous client, may receive."""
    return list(Event.between(after, last, limit).where(Event.visible_to(user_id, topics)))


def prune() -> None:
    """Delete the events that are older than seven days."""
    old = Event.select(Event.id).where(Event.created_at < clock.now() - KEPT)
    if last := old.order_by(Event.id.desc()).limit(1).scalar():
        delete_unlocked(Event, Event.id <= last)
