"""Two writers of one post never wait for each other: every pair, on the engine that locks rows."""

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peewee
import pytest
from flask import Flask

from services.posts import categories, feed_consumers, posts
from services.posts.config import Config
from services.posts.models import Category, database
from shared.ids import first_id, new_id
from shared.service import service_of
from tests.feeds import TOLD, ServedFeed
from tests.lock_order import slow_statements
from tests.posts.conftest import AsUser, Client, Headers, at_once, body, on_postgres

pytestmark = pytest.mark.slow

__all__ = ["slow_statements"]


@dataclass
class Target:
    """A published post with a cover, a category, two comments and a like."""

    app: Flask
    author_id: str
    author: Headers
    reader: Headers
    moderator: Headers
    post: dict[str, Any]
    category: dict[str, Any]
    comments: list[dict[str, Any]]
    cover: str

    @property
    def path(self) -> str:
        return f"/api/posts/{self.post['id']}"


def edit(target: Target, client: Client) -> Any:
    changes = {"tags": ["c", "a"], "title": "Another title", "category": None}
    return client.patch(target.path, json=changes, headers=target.author)


def edit_other(target: Target, client: Client) -> Any:
    changes = body(tags=["b", "c", "d"], category=target.category["slug"])
    return client.post("/api/posts", json=changes, headers=target.author)


def withdraw(target: Target, client: Client) -> Any:
    return client.patch(target.path, json={"status": "draft"}, headers=target.moderator)


def delete(target: Target, client: Client) -> Any:
    return client.delete(target.path, headers=target.author)


def like(target: Target, client: Client) -> Any:
    return client.put(f"{target.path}/like", headers=target.moderator)


def unlike(target: Target, client: Client) -> Any:
    return client.delete(f"{target.path}/like", headers=target.reader)


def comment(target: Target, client: Client) -> Any:
    reply = {"content": "Yes.", "parentId": target.comments[0]["id"]}
    return client.post(f"{target.path}/comments", json=reply, headers=target.reader)


def edit_comment(target: Target, client: Client) -> Any:
    path = f"/api/comments/{target.comments[1]['id']}"
    return client.patch(path, json={"content": "No."}, headers=target.reader)


def delete_comment(target: Target, client: Client) -> Any:
    return client.delete(f"/api/comments/{target.comments[0]['id']}", headers=target.moderator)


def rename_category(target: Target, client: Client) -> Any:
    path = f"/api/categories/{target.category['slug']}"
    return client.patch(path, json={"name": new_id()}, headers=target.moderator)


def delete_category(target: Target, client: Client) -> Any:
    return client.delete(f"/api/categories/{target.category['slug']}", headers=target.moderator)


def forget_category(target: Target, _client: Client) -> None:
    category = Category.get_by_id(target.category["id"])
    while categories._take_from_some(category):
        pass


def forget_author(target: Target, _client: Client) -> None:
    with database.atomic():
        feed_consumers._forget({"subject": target.author_id})


def remove_cover(target: Target, _client: Client) -> None:
    with database.atomic():
        posts.remove_cover(target.cover)


Writer = Callable[[Target, Client], Any]
WRITERS: list[Writer] = [
    edit, edit_other, withdraw, delete, like, unlike, comment, edit_comment, delete_comment, rename_category,
    delete_category, forget_category, forget_author, remove_cover,
]  # fmt: skip


def make_target(app: Flask, as_user: AsUser) -> Target:
    client: Client = app.test_client()
    author_id, cover = new_id(), new_id()
    author, reader, moderator = as_user("Ann", user_id=author_id), as_user("Bob"), as_user("Mo", "moderator")
    category = client.post("/api/categories", json={"name": new_id()}, headers=moderator).json["data"]
    written = body(tags=["a", "b", "c"], category=category["slug"], coverImage=cover)
    post = client.post("/api/posts", json=written, headers=author).json["data"]
    for number in range(2):  # drafts of the same author
        client.post("/api/posts", json=written | {"status": "draft", "title": f"Draft {number}"}, headers=author)
    path = f"/api/posts/{post['id']}"
    client.put(f"{path}/like", headers=reader)
    comments = [
        client.post(f"{path}/comments", json={"content": "Well."}, headers=reader).json["data"] for _ in range(2)
    ]
    return Target(app, author_id, author, reader, moderator, post, category, comments, cover)


def id_of_old(number: int) -> str:
    return f"{first_id(TOLD)[:-2]}{number:02x}"


@on_postgres
@pytest.mark.parametrize("consumer_class", [feed_consumers.CoverConsumer, feed_consumers.AuthorConsumer])
def test_a_rebuild_deadlocks_with_no_writer(
    app: Flask, as_user: AsUser, slow_statements: list[bool], consumer_class: Any
) -> None:
    """Lost covers and authors come in any order, and the deletion of a category locks the oldest post first."""
    target = make_target(app, as_user)
    client: Client = app.test_client()
    for number in range(30):
        written = body(category=target.category["slug"], coverImage=id_of_old(number), title=f"Post {number}")
        written["status"] = "draft" if consumer_class is feed_consumers.AuthorConsumer else "published"
        author = as_user(f"User {number}", user_id=id_of_old(number))
        assert client.post("/api/posts", json=written, headers=author).status_code == 201
    source = ServedFeed("source")
    source.tables = {"/internal/uploads": [], "/internal/users": [{"id": id_of_old(99), "name": "Old", "avatar": None}]}
    with source.served():
        config = dataclasses.replace(service_of(app).get(Config), auth_url=source.url, uploads_url=source.url)
        consumer = consumer_class(config)
        failures: list[Exception] = []

        def noted(call: Callable[[], Any]) -> Callable[[], None]:
            def run() -> None:
                try:
                    call()
                except peewee.OperationalError as error:
                    failures.append(error)

            return run

        def forget() -> None:
            time.sleep(0.2)  # in which the rebuild has locked some posts; all take it far longer
            forget_category(target, client)

        slow_statements[0] = True
        at_once(noted(consumer.rebuild), noted(forget))
        slow_statements[0] = False
    assert failures == []


@on_postgres
def test_a_batch_of_facts_deadlocks_with_no_writer(
    app: Flask, as_user: AsUser, slow_statements: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts touch the newest post first, and the deletion of a category locks the oldest first."""
    target = make_target(app, as_user)
    client: Client = app.test_client()
    covers = [new_id() for _ in range(8)]
    for number, cover in enumerate(covers):
        written = body(category=target.category["slug"], coverImage=cover, title=f"Post {number}")
        assert client.post("/api/posts", json=written, headers=target.author).status_code == 201
    facts = [{"id": new_id(), "type": "upload.deleted", "subject": cover} for cover in reversed(covers)]
    consumer = feed_consumers.CoverConsumer(service_of(app).get(Config))
    failures: list[Exception] = []
    begun = threading.Event()
    ordinary = consumer._handle

    def handle(event: dict[str, Any]) -> None:
        try:
            ordinary(event)
            begun.set()
        except Exception as error:
            failures.append(error)
            raise

    def forget() -> None:
        begun.wait(10)
        try:
            forget_category(target, client)
        except peewee.OperationalError as error:
            failures.append(error)

    monkeypatch.setattr(consumer, "_handle", handle)
    slow_statements[0] = True
    at_once(lambda: consumer._apply(facts), forget)
    slow_statements[0] = False
    assert failures == []


@on_postgres
@pytest.mark.parametrize("first", WRITERS, ids=lambda writer: writer.__name__)
def test_no_pair_of_writers_deadlocks(app: Flask, as_user: AsUser, slow_statements: list[bool], first: Writer) -> None:
    for second in WRITERS[WRITERS.index(first) :]:
        target = make_target(app, as_user)

        def call(writer: Writer, target: Target = target) -> Callable[[], Any]:
            def run() -> Any:
                answer = writer(target, app.test_client())
                return 200 if answer is None else answer.status_code

            return run

        slow_statements[0] = True
        statuses = at_once(call(first), call(second))
        slow_statements[0] = False
        assert all(status and status < 500 for status in statuses), f"{first.__name__}, {second.__name__}: {statuses}"
