"""What becomes of notifications when the feeds do not reach back to where this service was."""

from collections.abc import Callable

import pytest

from services.messages.config import Config
from services.messages.feed_consumers import consumers
from services.messages.live_events import event_log
from services.messages.models import FeedPosition, Liker, Notification, Person, database
from shared.ids import first_id, new_id
from tests.feeds import TOLD, ServedFeed
from tests.messages.conftest import waiting_for_the_log
from tests.messages.telling import (
    ANN,
    BOB,
    EVE,
    Told,
    auth_feed,
    comment,
    notify_comment,
    notify_like,
    posts_feed,
    read,
    register,
    settings,
    told,
)  # fmt: skip

__all__ = ["auth_feed", "posts_feed", "read", "settings", "told"]
LONG_AGO = [f"{first_id(TOLD)[:-1]}{digit}" for digit in "123456"]
ZOE, MAX = LONG_AGO[:2]


def know(feed: ServedFeed, **names: str) -> None:
    feed.tables["/internal/users"] = [{"id": user, "name": name, "avatar": None} for name, user in names.items()]


def test_a_service_that_starts_late_welcomes_nobody_and_knows_everybody(
    auth_feed: ServedFeed, read: Callable[[], None]
) -> None:
    know(auth_feed, **{f"user{number}": user for number, user in enumerate(LONG_AGO)})
    register(auth_feed, zoe=ZOE)
    auth_feed.forget()
    register(auth_feed, ann=ANN)
    read()
    assert [(row.user_id, row.type) for row in Notification.select()] == [(ANN, "welcome")]
    assert {row.id: row.name for row in Person.select()} == {
        ANN: "Ann", **{user: f"user{number}" for number, user in enumerate(LONG_AGO)},
    }  # fmt: skip


def test_who_was_deleted_meanwhile_is_gone_with_what_names_them(
    auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told
) -> None:
    register(auth_feed, zoe=ZOE, max=MAX, ann=ANN)
    notify_comment(posts_feed, comment(ZOE, MAX, new_id()))
    notify_comment(posts_feed, comment(MAX, ZOE, new_id()))
    assert (len(told(ZOE)), len(told(MAX))) == (2, 2)
    auth_feed.tell("user.deleted", ZOE, id=ZOE)
    auth_feed.forget()
    know(auth_feed, Maximilian=MAX, Ann=ANN)
    assert [item["type"] for item in told(MAX)] == ["welcome"]
    assert told(ZOE) == []
    assert (Person.get_by_id(ZOE).deleted, Person.get_by_id(MAX).name) == (True, "Maximilian")


def test_a_name_that_the_feed_still_tells_is_not_put_back(auth_feed: ServedFeed, read: Callable[[], None]) -> None:
    """The table is newer than what the feed keeps, however that is called there."""
    register(auth_feed, zoe=ZOE)
    auth_feed.forget()
    auth_feed.tell("user.updated", ZOE, id=ZOE, name="Between", avatar=None)
    know(auth_feed, Newest=ZOE)
    read()
    assert Person.get_by_id(ZOE).name == "Newest"


def test_what_was_told_of_posts_is_told_again_as_far_as_the_feed_goes(
    posts_feed: ServedFeed, auth_feed: ServedFeed, told: Told
) -> None:
    old, new = new_id(), new_id()
    register(auth_feed, ann=ANN)
    notify_comment(posts_feed, comment(BOB, ANN, old))
    notify_like(posts_feed, old, ANN, BOB)
    assert len(told(ANN)) == 3
    posts_feed.tell("post.deleted", old, id=old, authorId=ANN)
    posts_feed.forget()
    notify_comment(posts_feed, comment(BOB, ANN, new))
    for user in (BOB, EVE):
        notify_like(posts_feed, new, ANN, user)
    assert [item["type"] for item in told(ANN)] == ["like", "comment", "welcome"]
    assert (told(ANN)[0]["likes"], {row.post_id for row in Liker.select()}) == (2, {new})
    assert FeedPosition.get_by_id("posts").event_id == f"0-{len(posts_feed.events)}"


def test_of_two_processes_that_start_over_the_slower_one_undoes_nothing(
    posts_feed: ServedFeed, config: Config, read: Callable[[], None], told: Told
) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    posts_feed.forget()
    slow = consumers(config)[1]
    assert slow._position() == {}
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    read()
    slow._start_over(f"0-{posts_feed.oldest}")
    assert [item["type"] for item in told(ANN)] == ["comment"]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_who_starts_over_waits_for_the_log_first_as_whoever_reads_on(
    posts_feed: ServedFeed, config: Config, read: Callable[[], None]
) -> None:
    """In another order the two could wait for each other."""
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    read()
    posts_feed.forget()
    slow = consumers(config)[1]
    slow._position()
    with waiting_for_the_log(lambda: slow._start_over(f"0-{posts_feed.oldest}")):
        database.execute_sql("SELECT 1 FROM feed_position FOR UPDATE NOWAIT")
    assert not event_log.reaches_back_to(event_log.newest() - 1)
