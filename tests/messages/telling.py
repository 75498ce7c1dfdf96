"""What auth and posts tell in tests, and what users are told of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from services.messages.config import Config
from services.messages.feed_consumers import consumers
from services.messages.models import Notification
from shared.ids import new_id
from tests.feeds import ServedFeed
from tests.messages.conftest import AsUser, Client

ANN, BOB, EVE = new_id(), new_id(), new_id()
Told = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def auth_feed() -> Iterator[ServedFeed]:
    feed = ServedFeed("auth")
    with feed.served():
        yield feed


@pytest.fixture
def posts_feed() -> Iterator[ServedFeed]:
    feed = ServedFeed("posts")
    with feed.served():
        yield feed


@pytest.fixture
def settings(settings: dict[str, str], auth_feed: ServedFeed, posts_feed: ServedFeed) -> dict[str, str]:
    return settings | {"AUTH_URL": auth_feed.url, "POSTS_URL": posts_feed.url}


@pytest.fixture
def read(app: Flask, config: Config) -> Callable[[], None]:
    """Read both feeds to their ends, with consumers that know nothing but what the database says."""

    def read() -> None:
        for reader in consumers(config):
            while reader.read_batch():
                pass

    return read


@pytest.fixture
def told(client: Client, as_user: AsUser, read: Callable[[], None]) -> Told:
    """Return what a user is told, the newest first, when the feeds have been read."""

    def told(user_id: str) -> list[dict[str, Any]]:
        read()
        answer = client.get("/api/notifications", headers=as_user(user_id))
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json["data"]
        assert answer.json["unread"] == len([item for item in data if not item["read"]])
        assert answer.json["pagination"]["total"] == len(data)
        return data

    return told


def register(feed: ServedFeed, **names: str) -> None:
    for name, user_id in names.items():
        feed.tell("user.registered", user_id, id=user_id, name=name.capitalize(), avatar=None)


def comment(author: str, owner: str, post: str, parent: tuple[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return the data of a comment's fact; `parent` is the id and the author of what it answers."""
    return {
        "id": new_id(), "postId": post, "postTitle": "A post", "postAuthorId": owner, "authorId": author,
        "authorName": "Whoever", "parentId": parent[0] if parent else None,
        "parentAuthorId": parent[1] if parent else None,
    } | more  # fmt: skip


def notify_comment(feed: ServedFeed, data: dict[str, Any], type: str = "comment.created") -> str:
    comment_id = str(data["id"])
    feed.tell(type, comment_id, **data)
    return comment_id


def notify_like(feed: ServedFeed, post: str, owner: str, user: str, type: str = "post.liked") -> None:
    feed.tell(type, post, id=post, title="A post", authorId=owner, userId=user, userName="Whoever")


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]


def everything(auth_feed: ServedFeed, posts_feed: ServedFeed) -> None:
    """Tell one fact of every kind, and more."""
    register(auth_feed, ann=ANN, bob=BOB, eve=EVE)
    auth_feed.tell("user.role_changed", ANN, role="moderator", actorId=BOB)
    for number in range(40):
        post = new_id()
        notify_comment(posts_feed, comment(BOB, ANN, post, (new_id(), EVE)))
        for user in (BOB, EVE):
            notify_like(posts_feed, post, ANN, user)
        if number % 10 == 0:
            notify_like(posts_feed, post, ANN, BOB, "post.unliked")


EVERYTHING = {ANN: 82, BOB: 1, EVE: 41}


def counted() -> dict[str, int]:
    return {user: Notification.select().where(Notification.user_id == user).count() for user in (ANN, BOB, EVE)}
