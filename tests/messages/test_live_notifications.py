"""Notifications on the streams of their owners: the same as in the list, once, and gone with what they are about."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.messages.models import Event
from shared.ids import new_id
from tests.conftest import FrozenClock
from tests.feeds import ServedFeed
from tests.messages.telling import (  # noqa: F401 (fixtures)
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
)


@pytest.fixture(autouse=True)
def now(frozen_clock: FrozenClock) -> None:
    frozen_clock.moment = datetime(2026, 1, 2, 1, tzinfo=UTC)  # an hour after the facts of the feeds


def live(user_id: str) -> list[dict[str, Any]]:
    events = Event.select().where(Event.topic == "notification", Event.user_id == user_id).order_by(Event.id)
    return [orjson.loads(event.data) for event in events]


def test_what_is_told_live_is_what_the_list_has(auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told) -> None:  # noqa: F811
    register(auth_feed, ann=ANN, bob=BOB)
    auth_feed.tell("user.role_changed", ANN, role="moderator", actorId=BOB)
    told(ANN)
    post = new_id()
    notify_comment(posts_feed, comment(BOB, ANN, post))
    notify_comment(posts_feed, comment(EVE, EVE, post, (new_id(), ANN)))
    notify_like(posts_feed, post, ANN, BOB)
    listed = told(ANN)
    assert len(listed) == 5
    assert sorted(live(ANN), key=lambda item: item["id"]) == sorted(listed, key=lambda item: item["id"])
    assert [item["type"] for item in live(BOB)] == ["welcome"]
    assert live(EVE) == []


def test_each_new_like_is_told_and_no_other_change_of_them(posts_feed: ServedFeed, told: Told) -> None:  # noqa: F811
    post = new_id()
    for user, kind in ((BOB, "post.liked"), (EVE, "post.liked"), (BOB, "post.unliked"), (BOB, "post.liked")):
        notify_like(posts_feed, post, ANN, user, kind)
    told(ANN)
    assert [(item["likes"], item["actor"]["id"]) for item in live(ANN)] == [(1, BOB), (2, EVE)]


@pytest.mark.parametrize("gone", ["comment.hidden", "comment.deleted", "post.deleted"])
def test_what_is_gone_is_told_nobody_who_comes_later(posts_feed: ServedFeed, told: Told, gone: str) -> None:  # noqa: F811
    post = new_id()
    about = comment(BOB, ANN, post)
    notify_comment(posts_feed, about)
    told(ANN)
    assert len(live(ANN)) == 1
    subject = post if gone == "post.deleted" else about["id"]
    posts_feed.tell(gone, subject, id=subject, postId=post, wasVisible=True, wasListed=True)
    assert told(ANN) == []
    assert live(ANN) == []


def test_a_deleted_user_is_named_to_nobody(auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told) -> None:  # noqa: F811
    register(auth_feed, ann=ANN, bob=BOB)
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    notify_comment(posts_feed, comment(ANN, BOB, new_id()))
    told(ANN)
    auth_feed.tell("user.deleted", BOB, id=BOB)
    told(ANN)
    assert ([item["type"] for item in live(ANN)], live(BOB)) == (["welcome"], [])
