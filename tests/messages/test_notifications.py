"""Notifications: each fact is told once to whom it concerns, and goes with what it is about."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from peewee import OperationalError

from services.messages import notifications
from services.messages.app import create_app
from services.messages.config import Config
from services.messages.feed_consumers import FactConsumer, consumers
from services.messages.models import FeedPosition, Liker, Notification, Person, database
from shared.feed.consumer import HandlerError
from shared.identity.jwks import Jwks
from shared.ids import is_id, new_id
from tests.feeds import ServedFeed
from tests.messages.conftest import AsUser, Client
from tests.messages.telling import (
    ANN,
    BOB,
    EVE,
    EVERYTHING,
    Told,
    auth_feed,
    comment,
    counted,
    everything,
    kinds,
    notify_comment,
    notify_like,
    posts_feed,
    read,
    register,
    settings,
    told,
)

__all__ = ["auth_feed", "posts_feed", "read", "settings", "told"]


def test_who_registers_is_welcome(auth_feed: ServedFeed, told: Told) -> None:
    register(auth_feed, ann=ANN)
    (welcome,) = told(ANN)
    assert is_id(welcome.pop("id"))
    assert welcome == {"type": "welcome", "read": False, "createdAt": "2026-01-02T00:00:01.000000Z"}
    assert told(BOB) == []


def test_a_comment_is_told_to_the_author_of_the_post(auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told) -> None:
    auth_feed.tell("user.updated", BOB, id=BOB, name="Bob", avatar="some-upload")
    post = new_id()
    comment_id = notify_comment(posts_feed, comment(BOB, ANN, post))
    (item,) = told(ANN)
    assert (item["type"], item["commentId"], item["post"]) == ("comment", comment_id, {"id": post, "title": "A post"})
    assert item["actor"] == {"id": BOB, "name": "Bob", "avatar": "some-upload"}
    assert told(BOB) == []


def test_a_name_is_what_auth_says_and_until_then_what_the_fact_says(
    auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told
) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    notify_comment(posts_feed, comment(EVE, ANN, new_id(), authorName=None))
    assert [item["actor"]["name"] for item in told(ANN)] == [None, "Whoever"]
    register(auth_feed, bob=BOB, eve=EVE)
    auth_feed.tell("user.updated", BOB, id=BOB, name="Robert", avatar=None)
    assert [item["actor"]["name"] for item in told(ANN) if "actor" in item] == ["Eve", "Robert"]


def test_a_reply_is_told_to_whom_it_answers(posts_feed: ServedFeed, told: Told) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id(), (new_id(), EVE)))
    assert (kinds(told(ANN)), kinds(told(EVE)), kinds(told(BOB))) == (["comment"], ["reply"], [])


def test_a_comment_on_my_post_that_answers_me_is_told_once(posts_feed: ServedFeed, told: Told) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id(), (new_id(), ANN)))
    assert kinds(told(ANN)) == ["reply"]


def test_nobody_is_told_of_their_own_doing(auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told) -> None:
    post = new_id()
    notify_comment(posts_feed, comment(ANN, ANN, post))
    notify_comment(posts_feed, comment(ANN, ANN, post, (new_id(), ANN)))
    notify_like(posts_feed, post, ANN, ANN)
    auth_feed.tell("user.role_changed", ANN, role="admin", actorId=ANN)
    assert told(ANN) == []


@pytest.mark.parametrize("actor", [BOB, None], ids=["somebody", "a command"])
def test_a_new_role_is_told(auth_feed: ServedFeed, told: Told, actor: str | None) -> None:
    auth_feed.tell("user.role_changed", ANN, role="moderator", actorId=actor)
    auth_feed.tell("user.role_changed", ANN, role="user", actorId=actor)
    assert [(item["type"], item["role"]) for item in told(ANN)] == [("role", "user"), ("role", "moderator")]


def test_a_role_from_before_facts_named_the_actor_is_told(auth_feed: ServedFeed, told: Told) -> None:
    auth_feed.tell("user.role_changed", ANN, role="moderator")
    assert kinds(told(ANN)) == ["role"]


def test_likes_of_a_post_are_one_notification(posts_feed: ServedFeed, told: Told) -> None:
    one, other = new_id(), new_id()
    for post, user in ((one, BOB), (other, BOB), (one, EVE)):
        notify_like(posts_feed, post, ANN, user)
    first, second = told(ANN)
    assert (first["post"]["id"], first["likes"], first["actor"]["id"]) == (one, 2, EVE)
    assert (second["post"]["id"], second["likes"], second["actor"]["id"]) == (other, 1, BOB)
    assert first["createdAt"] == "2026-01-02T00:00:03.000000Z"


def test_another_like_is_news_but_the_same_users_is_not(
    client: Client, as_user: AsUser, posts_feed: ServedFeed, told: Told
) -> None:
    post = new_id()
    notify_like(posts_feed, post, ANN, BOB)
    (item,) = told(ANN)
    client.post("/api/notifications/read-all", headers=as_user(ANN))
    for type in ("post.unliked", "post.liked"):
        notify_like(posts_feed, post, ANN, BOB, type)
    (again,) = told(ANN)
    assert (again["id"], again["likes"], again["read"], again["createdAt"]) == (item["id"], 1, True, item["createdAt"])
    notify_like(posts_feed, post, ANN, EVE)
    (news,) = told(ANN)
    assert (news["id"], news["likes"], news["read"]) == (item["id"], 2, False)


def test_a_like_taken_back_counts_no_more(posts_feed: ServedFeed, told: Told) -> None:
    post = new_id()
    for user in (BOB, EVE):
        notify_like(posts_feed, post, ANN, user)
    for _ in range(2):
        notify_like(posts_feed, post, ANN, EVE, "post.unliked")
    (item,) = told(ANN)
    assert (item["likes"], item["actor"]["id"]) == (1, BOB)
    notify_like(posts_feed, post, ANN, BOB, "post.unliked")
    assert told(ANN) == []


def test_a_hidden_comment_is_not_told(posts_feed: ServedFeed, told: Told) -> None:
    early, late = (comment(BOB, ANN, new_id()) for _ in range(2))
    notify_comment(posts_feed, early)
    assert kinds(told(ANN)) == ["comment"]
    notify_comment(posts_feed, early, "comment.hidden")
    notify_comment(posts_feed, late)
    notify_comment(posts_feed, late, "comment.hidden")
    assert told(ANN) == []
    notify_comment(posts_feed, late, "comment.shown")
    assert [item["commentId"] for item in told(ANN)] == [late["id"]]


def test_what_is_hidden_when_it_is_read_was_never_told(
    posts_feed: ServedFeed, read: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    notify = notifications._notify

    def note(user_id: str, type: str, key: str, *rest: Any, **about: Any) -> None:
        made.append(key)
        notify(user_id, type, key, *rest, **about)

    monkeypatch.setattr(notifications, "_notify", note)
    for last in ("comment.hidden", "comment.deleted"):
        data = comment(BOB, ANN, new_id())
        notify_comment(posts_feed, data)
        notify_comment(posts_feed, data, last)
    read()
    assert made == []


def test_a_deleted_comment_takes_its_notification_along(posts_feed: ServedFeed, told: Told) -> None:
    gone, stays = (comment(BOB, ANN, new_id()) for _ in range(2))
    notify_comment(posts_feed, gone)
    notify_comment(posts_feed, stays)
    assert len(told(ANN)) == 2
    notify_comment(posts_feed, gone, "comment.deleted")
    assert [item["commentId"] for item in told(ANN)] == [stays["id"]]


def test_a_deleted_post_takes_its_notifications_along(posts_feed: ServedFeed, told: Told) -> None:
    gone, stays = new_id(), new_id()
    for post in (gone, stays):
        notify_comment(posts_feed, comment(BOB, ANN, post, (new_id(), EVE)))
        notify_like(posts_feed, post, ANN, BOB)
    assert (len(told(ANN)), len(told(EVE))) == (4, 2)
    posts_feed.tell("post.deleted", gone, id=gone, authorId=ANN)
    assert {item["post"]["id"] for item in told(ANN) + told(EVE)} == {stays}
    assert [liker.post_id for liker in Liker.select()] == [stays]


def test_a_deleted_user_takes_along_what_names_them(auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told) -> None:
    shared, bobs = new_id(), new_id()
    notify_comment(posts_feed, comment(BOB, ANN, shared))
    notify_comment(posts_feed, comment(EVE, ANN, shared))
    for post, user in ((shared, EVE), (shared, BOB), (bobs, EVE), (new_id(), BOB)):
        notify_like(posts_feed, post, BOB if post == bobs else ANN, user)
    register(auth_feed, bob=BOB)
    assert (len(told(ANN)), len(told(BOB))) == (4, 2)
    auth_feed.tell("user.deleted", BOB, id=BOB)
    like, comment_of_eve = told(ANN)
    assert (like["likes"], like["actor"]["id"], comment_of_eve["actor"]["id"]) == (1, EVE, EVE)
    assert Notification.select().where(Notification.user_id == BOB).count() == 0
    assert {liker.post_id for liker in Liker.select()} == {shared}
    person = Person.get_by_id(BOB)
    assert (person.name, person.avatar, person.deleted) == (None, None, True)


def test_a_fact_of_posts_that_comes_after_its_user_is_gone_makes_nothing(
    auth_feed: ServedFeed, posts_feed: ServedFeed, told: Told
) -> None:
    auth_feed.tell("user.deleted", BOB, id=BOB)
    assert told(BOB) == []
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    notify_comment(posts_feed, comment(ANN, BOB, new_id()))
    notify_like(posts_feed, new_id(), ANN, BOB)
    notify_like(posts_feed, new_id(), BOB, ANN)
    register(auth_feed, bob=BOB)
    assert told(ANN) == told(BOB) == []
    assert Notification.select().count() == Liker.select().count() == 0


def test_a_post_is_told_of_under_its_new_title(posts_feed: ServedFeed, told: Told) -> None:
    post = new_id()
    notify_comment(posts_feed, comment(BOB, ANN, post))
    posts_feed.tell("post.updated", post, id=post, authorId=ANN)
    assert told(ANN)[0]["post"]["title"] == "A post"
    seen = {"wasListed": True, "authorId": ANN, "id": post}
    posts_feed.tell("post.updated", post, title="The title of a draft", listed=False, **seen)
    assert told(ANN)[0]["post"]["title"] == "A post"
    posts_feed.tell("post.updated", post, title="Another title", listed=True, **seen)
    assert told(ANN)[0]["post"]["title"] == "Another title"


def test_facts_read_twice_are_told_once(
    auth_feed: ServedFeed, posts_feed: ServedFeed, read: Callable[[], None]
) -> None:
    everything(auth_feed, posts_feed)
    read()
    Notification.update(read=True).execute()
    before = sorted((row.user_id, row.key, row.likes, row.read) for row in Notification.select())
    FeedPosition.delete().execute()
    auth_feed.double = posts_feed.double = True
    read()
    assert counted() == EVERYTHING
    assert sorted((row.user_id, row.key, row.likes, row.read) for row in Notification.select()) == before


def test_a_batch_that_fails_at_its_end_is_told_once(
    auth_feed: ServedFeed, posts_feed: ServedFeed, read: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks between two facts, the position and what was told stand together."""
    everything(auth_feed, posts_feed)
    notify, calls = notifications._notify, 0

    def break_down(*args: Any, **about: Any) -> None:
        nonlocal calls
        calls += 1
        notify(*args, **about)
        if calls % 7 == 0:
            raise ConnectionError("the database is away")

    monkeypatch.setattr(notifications, "_notify", break_down)
    failures = 0
    while failures < 200:
        try:
            read()
            break
        except HandlerError:
            failures += 1
    assert failures > 0
    assert counted() == EVERYTHING


def tries_again(read_batch: Callable[[], int]) -> int:
    """Read as the thread of a service does, which tries again when others had the database for too long."""
    try:
        return read_batch()
    except OperationalError:
        return 1


def test_several_processes_that_read_at_once_tell_each_fact_once(
    app: Flask, config: Config, auth_feed: ServedFeed, posts_feed: ServedFeed
) -> None:
    everything(auth_feed, posts_feed)
    together = threading.Barrier(8, timeout=30)

    def follow(reader: FactConsumer) -> None:
        together.wait(30)
        try:
            while tries_again(reader.read_batch):
                pass
        finally:
            database.close()

    threads = [
        threading.Thread(target=follow, args=(reader,)) for _ in range(4) for reader in consumers(config)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted() == EVERYTHING
    assert {row.likes for row in Notification.select().where(Notification.type == "like")} == {1, 2}


def test_a_service_that_starts_again_goes_on_where_it_was(
    jwks: Jwks, config: Config, auth_feed: ServedFeed, tmp_path: Path, read: Callable[[], None]
) -> None:
    register(auth_feed, ann=ANN)
    read()
    database.close()
    create_app(config, lambda: jwks)
    register(auth_feed, bob=BOB)
    read()
    assert [(row.user_id, row.type) for row in Notification.select().order_by(Notification.created_at)] == [
        (ANN, "welcome"), (BOB, "welcome"),
    ]  # fmt: skip
