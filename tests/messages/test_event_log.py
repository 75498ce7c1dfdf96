"""The log of events: its order, and what the facts of posts become in it."""

import threading
from typing import Any

import orjson
import pytest
from flask import Flask

from services.messages import feed_consumers
from services.messages.live_events import event_log, public_events
from services.messages.models import Event, FeedPosition, Notification, database
from shared import clock
from shared.ids import new_id

Rows = list[tuple[str, dict[str, Any]]]


def rows() -> Rows:
    return [(event.topic, orjson.loads(event.data)) for event in Event.select().order_by(Event.id)]


def test_ids_appear_in_their_order_whoever_appends_at_the_same_time(app: Flask) -> None:
    writers, each = 4, 25
    seen: list[int] = []
    done = threading.Event()

    def write() -> None:
        for number in range(each):
            with database.atomic() as transaction:
                event_log.append("post.published", {"id": new_id()})
                if number % 5 == 4:
                    transaction.rollback()
        database.close()

    def read() -> None:
        while not done.is_set() or event_log.newest() > (seen[-1] if seen else 0):
            last = seen[-1] if seen else 0
            seen.extend(event.id for event in event_log.page(last, event_log.newest(), 10))
        database.close()

    threads = [threading.Thread(target=write) for _ in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert seen == list(range(1, writers * each * 4 // 5 + 1))


def test_nothing_is_appended_outside_a_transaction(app: Flask) -> None:
    with pytest.raises(RuntimeError):
        event_log.append("post.published", {"id": "x"})


def test_what_was_rolled_back_wakes_nobody(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    monkeypatch.setattr(event_log, "on_commit", lambda: woken.append(event_log.newest()))
    with database.atomic() as transaction:
        event_log.append("post.published", {"id": "x"})
        transaction.rollback()
    with database.atomic():
        event_log.append("post.published", {"id": "x"})
        assert woken == []
    assert woken == [1]


def fact(kind: str, subject: str, **data: Any) -> dict[str, Any]:
    about = {"id": subject, "authorId": "ann"} | data
    return {"type": kind, "subject": subject, "time": clock.rfc3339(clock.now()), "data": about}


def tell(*facts: dict[str, Any]) -> Rows:
    with database.atomic():
        for one in facts:
            public_events.HANDLERS[one["type"]](one)
    return rows()


A_POST = {"title": "Hello", "slug": "hello", "publishedAt": "2030-01-01T00:00:00Z"}
PUBLISHED = fact("post.published", "p", **A_POST)
TOLD = {"id": "p", "authorId": "ann", **A_POST}


def test_a_post_that_is_published_and_edited_is_told(app: Flask) -> None:
    edited = fact("post.updated", "p", **A_POST, listed=True, wasListed=True, email="x@example.org")
    assert tell(PUBLISHED, edited) == [
        ("post.published", {"type": "post.published", **TOLD}),
        ("post.updated", {"type": "post.updated", **TOLD}),
    ]


@pytest.mark.parametrize(
    "gone",
    [fact("post.updated", "p", **A_POST, listed=False, wasListed=True), fact("post.deleted", "p", wasListed=True)],
)
def test_a_post_that_is_not_to_be_seen_any_more_takes_along_what_was_told_of_it(
    app: Flask, gone: dict[str, Any]
) -> None:
    comment = fact("comment.created", "c", postId="p", parentId=None)
    other = fact("comment.created", "d", postId="q", parentId=None)
    told = tell(PUBLISHED, comment, other, gone)
    assert [(topic, data["id"]) for topic, data in told] == [("comment.created", "d"), ("post.deleted", "p")]
    assert told[-1][1] == {"type": "post.deleted", "id": "p"}


@pytest.mark.parametrize(
    "hidden",
    [
        fact("post.updated", "p", **A_POST, listed=False, wasListed=False),
        fact("post.updated", "p", **A_POST),
        fact("post.deleted", "p", wasListed=False),
        fact("comment.deleted", "c", postId="p", wasVisible=False),
        fact("comment.hidden", "c", postId="p", wasVisible=False),
    ],
)
def test_nothing_is_told_of_what_nobody_could_see(app: Flask, hidden: dict[str, Any]) -> None:
    assert tell(hidden) == []


def test_a_post_that_comes_back_is_told_as_published(app: Flask) -> None:
    (told,) = tell(fact("post.updated", "p", **A_POST, listed=True, wasListed=False))
    assert told == ("post.published", {"type": "post.published", **TOLD})


def test_comments_are_told_while_they_are_to_be_seen(app: Flask) -> None:
    about = {"postId": "p", "parentId": None}
    private = {"postAuthorId": "ben", "authorName": "Ann", "postTitle": "T", "parentAuthorId": "cy"}
    told = tell(
        fact("comment.created", "c", **about, **private),
        fact("comment.updated", "c", **about),
        fact("comment.hidden", "c", **about, wasVisible=True),
        fact("comment.shown", "c", **about, **private),
    )
    whole = {"id": "c", "authorId": "ann", **about}
    assert told == [
        ("comment.deleted", {"type": "comment.deleted", "id": "c", "postId": "p"}),
        ("comment.created", {"type": "comment.created", **whole}),
    ]
    assert [topic for topic, _ in tell(fact("comment.deleted", "c", **about, wasVisible=True))] == ["comment.deleted"]


@pytest.mark.parametrize(
    "gone",
    [
        fact("comment.hidden", "c", postId="p", wasVisible=False),
        fact("comment.deleted", "c", postId="p", wasVisible=False),
        fact("post.deleted", "p", wasListed=False),
    ],
)
def test_what_a_user_was_told_goes_though_nobody_else_could_see_it_any_more(app: Flask, gone: dict[str, Any]) -> None:
    """A comment was written while its post was to be seen, and is hidden when that is not any more."""
    about = {"postId": "p", "parentId": None, "postAuthorId": "ben", "parentAuthorId": None}
    with database.atomic():
        for one in (fact("comment.created", "c", **about), gone):
            feed_consumers.OF_POSTS[one["type"]](one)
    assert [topic for topic, _ in rows()] == ["comment.created"]
    assert Notification.select().count() == 0


def test_what_belongs_to_a_user_is_forgotten_with_the_user(app: Flask) -> None:
    with database.atomic():
        event_log.append("notification", {"id": "1"}, user_id="ann")
        event_log.append("notification", {"id": "2"}, user_id="ben")
        event_log.delete_user("ann")
    assert rows() == [("notification", {"id": "2"})]


def test_what_happened_long_ago_is_told_nobody(app: Flask) -> None:
    with database.atomic():
        event_log.append("post.published", {"id": "x"}, moment=clock.now() - event_log.KEPT)
        event_log.append("post.published", {"id": "y"}, moment=clock.now() - event_log.KEPT / 2)
    assert [data["id"] for _, data in rows()] == ["y"]


def test_when_the_feed_starts_over_so_does_the_log(app: Flask) -> None:
    tell(PUBLISHED, PUBLISHED)
    with database.atomic():
        event_log.reset()
    assert rows() == []
    assert [event_log.reaches_back_to(known) for known in (1, 2, 3)] == [False, False, True]


def test_a_batch_that_was_applied_elsewhere_appends_nothing(app: Flask, config: Any) -> None:
    events = [PUBLISHED | {"id": "0-1"}]
    for _ in range(2):
        _, reader = feed_consumers.consumers(config)
        reader._apply(events)
    assert (len(rows()), FeedPosition.get().event_id) == (1, "0-1")
