"""The log of events: what live streams tell, in the order in which it became true, for seven days."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.messages.models import Event, EventHead, database
from shared import clock
from shared.database.locking import delete_unlocked

KEPT = timedelta(days=7)

on_commit: Callable[[], object] | None = None  # called when there is something new


def lock() -> None:
    """Let nobody else append before this transaction ends.

    Whoever changes several rows that a reader may change too begins with it: so the two cannot wait for each other.
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
    """Write an event for everybody, or for one user, unless it is too old; call it inside a transaction.

    It is about the thing `data["id"]`, and is withdrawn with that, with its `subject` or with its post.
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


def withdraw(subject: str) -> None:
    """Take back what was told of a thing, and of what hangs on a post, so that nobody hears it later."""
    Event.delete().where((Event.subject == subject) | (Event.post_id == subject)).execute()


def withdraw_told(subject: str) -> None:
    """Take back what single users were told of a comment, or of a post and what hangs on it."""
    about = (Event.subject == subject) | (Event.post_id == subject)
    Event.delete().where(Event.user_id.is_null(False), about).execute()


def forget(user_id: str) -> None:
    """Delete what only this user may hear, and what others have been told of the user."""
    names = (Event.topic == "notification") & Event.data.contains(user_id)
    Event.delete().where((Event.user_id == user_id) | names).execute()


def start_over() -> None:
    """Forget everything; whoever comes back is told to begin anew."""
    EventHead.next()
    Event.delete().execute()


def newest() -> int:
    """Return the id of the newest event, 0 when there has never been one."""
    return EventHead.newest()


def reaches_back_to(event_id: int) -> bool:
    """Tell whether all that came after this event is still there."""
    last = newest()
    oldest = Event.oldest()
    return (last if oldest is None else oldest - 1) <= event_id <= last


def page(after: int, last: int, limit: int) -> list[Event]:
    """Return the next events for anybody."""
    return list(Event.between(after, last, limit))


def page_for(user_id: str | None, topics: Collection[str], after: int, last: int, limit: int) -> list[Event]:
    """Return the next events of these topics that a user, or a stranger, may hear."""
    return list(Event.between(after, last, limit).where(Event.heard_by(user_id, topics)))


def prune() -> None:
    """Delete what is older than seven days, from the oldest on."""
    old = Event.select(Event.id).where(Event.created_at < clock.now() - KEPT)
    if last := old.order_by(Event.id.desc()).limit(1).scalar():
        delete_unlocked(Event, Event.id <= last)
