import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from flask import Flask

from services.posts import feed_consumers
from services.posts.app import create_app
from services.posts.config import Config
from services.posts.models import DELETED_USER_NAME, Author, FeedPosition, Post, database
from shared.clock import rfc3339
from shared.feed.consumer import HandlerError
from shared.feed.database_consumer import DatabaseConsumer
from shared.ids import new_id
from shared.service import service_of
from tests.posts.conftest import AsUser, Client, Headers, Write, at_once, body, refused

TOLD = datetime(2026, 1, 2, tzinfo=UTC)


class AuthFeed:
    """A feed like auth's, on a real port; it can be closed and opened again."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.double = False
        self.port = 0

    def tell(self, kind: str, user_id: str, **data: Any) -> None:
        number = len(self.events) + 1
        moment = TOLD + timedelta(seconds=number)
        event = {"specversion": "1.0", "id": f"0-{number}", "source": "/auth", "type": kind, "subject": user_id}
        self.events.append(event | {"time": rfc3339(moment), "data": {"id": user_id} | data})

    def batch(self, after: str, limit: int) -> list[dict[str, Any]]:
        start = int(after.partition("-")[2] or 0)
        batch = self.events[start : start + limit]
        return batch * 2 if self.double else batch

    def open(self) -> None:
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                after = query.get("lastEventId", [""])[0]
                feed.asked.append(after)
                feed.tokens.add(self.headers["Authorization"])
                content = orjson.dumps(feed.batch(after, int(query.get("limit", ["500"])[0])))
                self.send_response(200)
                self.send_header("Content-Type", "application/cloudevents-batch+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def auth() -> Iterator[AuthFeed]:
    feed = AuthFeed()
    feed.open()
    yield feed
    feed.close()


@pytest.fixture
def settings(settings: dict[str, str], auth: AuthFeed) -> dict[str, str]:
    return settings | {"AUTH_URL": f"http://127.0.0.1:{auth.port}"}


@pytest.fixture
def config(settings: dict[str, str]) -> Config:
    return Config.load(settings)


@pytest.fixture
def reader(app: Flask, config: Config) -> DatabaseConsumer:
    return feed_consumers.AuthorConsumer(config)


def name_on(client: Client, post: dict[str, Any]) -> str:
    """Return the author's name on a post, which must be the same in the list."""
    alone = client.get(f"/api/posts/{post['id']}").json["data"]
    (listed,) = [item for item in client.get("/api/posts?limit=100").json["data"] if item["id"] == post["id"]]
    assert alone["author"] == listed["author"]
    return str(alone["author"]["name"])


def test_a_new_name_and_avatar_show_on_earlier_posts(
    client: Client, auth: AuthFeed, reader: DatabaseConsumer, config: Config, write: Write
) -> None:
    post = write()
    user_id = post["author"]["id"]
    auth.tell("user.registered", user_id, name="Ann", avatar=None)
    auth.tell("user.updated", user_id, name="Anna", avatar="http://localhost:8000/a.png")
    auth.tell("session.revoked", new_id(), userId=user_id)
    assert reader.read_batch() == 3
    assert name_on(client, post) == "Anna"
    author = client.get(f"/api/posts/{post['slug']}").json["data"]["author"]
    assert author == {"id": user_id, "name": "Anna", "avatar": "http://localhost:8000/a.png"}
    assert client.get("/api/posts?author=anna").json["pagination"]["total"] == 1
    assert auth.tokens == {f"Bearer {config.internal_token}"}


def test_the_old_name_in_a_token_changes_nothing(
    client: Client, as_user: AsUser, auth: AuthFeed, reader: DatabaseConsumer, write: Write
) -> None:
    user_id = new_id()
    auth.tell("user.registered", user_id, name="Ann", avatar=None)
    auth.tell("user.updated", user_id, name="Anna", avatar=None)
    reader.read_batch()
    post = write(as_user("Ann", user_id=user_id))
    assert post["author"]["name"] == name_on(client, post) == "Anna"


def test_a_token_names_who_the_feed_has_not_and_the_feed_corrects_it(
    client: Client, as_user: AsUser, auth: AuthFeed, reader: DatabaseConsumer, write: Write
) -> None:
    user_id = new_id()
    post = write(as_user("Ann", user_id=user_id))
    assert name_on(client, post) == "Ann"
    write(as_user("Anna", user_id=user_id))
    assert name_on(client, post) == "Ann"  # the feed decides, not the last token
    auth.tell("user.updated", user_id, name="Anna", avatar=None)
    reader.read_batch()
    assert name_on(client, post) == "Anna"


def test_doubled_batches_and_old_positions_bring_no_old_name_back(
    client: Client, auth: AuthFeed, reader: DatabaseConsumer, config: Config, write: Write
) -> None:
    post = write()
    user_id = post["author"]["id"]
    for name in ("Ann", "Anna", "Annabel"):
        auth.tell("user.updated", user_id, name=name, avatar=None)
    auth.double = True
    reader.read_batch()
    assert name_on(client, post) == "Annabel"
    auth.double = False
    FeedPosition.update(event_id="0-1").execute()
    auth.events.pop()  # what was last is not told again
    assert feed_consumers.AuthorConsumer(config).read_batch() == 1
    assert name_on(client, post) == "Annabel"
    FeedPosition.delete().execute()
    assert feed_consumers.AuthorConsumer(config).read_batch() == 2
    assert name_on(client, post) == "Annabel"


def test_a_restart_goes_on_where_it_was(
    client: Client, auth: AuthFeed, settings: dict[str, str], reader: DatabaseConsumer, jwks: Any, write: Write
) -> None:
    post = write()
    auth.tell("user.updated", post["author"]["id"], name="Anna", avatar=None)
    reader.read_batch()
    database.close()
    again = create_app(Config.load(settings), lambda: jwks)
    auth.tell("user.updated", post["author"]["id"], name="Annabel", avatar=None)
    assert feed_consumers.AuthorConsumer(service_of(again).get(Config)).read_batch() == 1
    assert auth.asked == ["", "0-1"]
    assert name_on(again.test_client(), post) == "Annabel"


def test_of_two_processes_one_applies_a_batch(
    auth: AuthFeed, reader: DatabaseConsumer, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[str] = []
    monkeypatch.setattr(Author, "upsert", lambda user_id, *_: applied.append(user_id))
    auth.tell("user.registered", new_id(), name="Ann", avatar=None)
    both = threading.Barrier(2, timeout=30)
    batch = auth.batch
    monkeypatch.setattr(auth, "batch", lambda *query: (both.wait(5), batch(*query))[1])
    at_once(feed_consumers.AuthorConsumer(config).read_batch, feed_consumers.AuthorConsumer(config).read_batch)
    assert len(applied) == 1


def test_what_cannot_be_understood_stops_the_feed_there_and_loses_nothing(
    client: Client, auth: AuthFeed, reader: DatabaseConsumer, write: Write
) -> None:
    post = write()
    for data in ({"name": "Anna"}, {}, {"name": "Annabel"}):
        auth.tell("user.updated", post["author"]["id"], **data)
    for _ in range(2):
        with pytest.raises(HandlerError):
            reader.read_batch()
        assert (name_on(client, post), FeedPosition.get().event_id) == ("Anna", "0-1")
    auth.events[1]["data"]["name"] = "Annalena"
    reader.read_batch()
    assert name_on(client, post) == "Annabel"


def test_posts_of_a_deleted_user_stay_without_the_name_and_drafts_go(
    client: Client,
    as_user: AsUser,
    ann: Headers,
    moderator: Headers,
    auth: AuthFeed,
    reader: DatabaseConsumer,
    write: Write,
) -> None:
    post, draft = write(), write(status="draft", title="A draft")
    user_id = post["author"]["id"]
    auth.tell("user.registered", user_id, name="Ann", avatar="a.png")
    auth.tell("user.deleted", user_id)
    auth.tell("user.updated", user_id, name="Ann again", avatar=None)
    reader.read_batch()
    author = client.get(f"/api/posts/{post['id']}").json["data"]["author"]
    assert author == {"id": user_id, "name": DELETED_USER_NAME, "avatar": None}
    refused(client.get(f"/api/posts/{draft['id']}", headers=moderator), 404, "NOT_FOUND")
    assert (
        client.get("/api/posts?author=ann").json["data"] == client.get("/api/posts?author=deleted").json["data"] == []
    )
    assert client.get("/api/posts").json["pagination"]["total"] == 1
    assert write(as_user("Bob"), title="A draft", status="draft")["slug"] == "a-draft"
    assert name_on(client, post) == DELETED_USER_NAME


def test_who_is_deleted_writes_no_more(
    app: Flask, client: Client, as_user: AsUser, auth: AuthFeed, reader: DatabaseConsumer, write: Write
) -> None:
    given = body(status="draft")
    for _ in range(4):
        headers = as_user("Ann", user_id=(user_id := new_id()))
        post = write(headers)
        auth.tell("user.deleted", user_id)
        draft = partial(app.test_client().post, "/api/posts", json=given, headers=headers)
        _, raced = at_once(reader.read_batch, draft)
        assert raced.status_code in (201, 401)
        assert not Post.select().where(Post.author == user_id, Post.status == "draft", Post.deleted_at.is_null())
        refused(draft(), 401, "TOKEN_REVOKED")
        comments = f"/api/posts/{post['id']}/comments"
        refused(client.post(comments, json={"content": "Hi"}, headers=headers), 401, "TOKEN_REVOKED")


def eventually_named(client: Client, name: str, seconds: float) -> None:
    """Wait until every listed post has this author's name."""
    end = time.monotonic() + seconds
    while {item["author"]["name"] for item in client.get("/api/posts").json["data"]} != {name}:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_running_service_shows_a_new_name_within_two_seconds_and_survives_an_outage(
    app: Flask, client: Client, auth: AuthFeed, reader: DatabaseConsumer, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.feed.consumer.RETRY", 0.1)
    ended = threading.Event()

    def run() -> None:
        reader._run()
        database.close()
        ended.set()

    user_id = write()["author"]["id"]
    threading.Thread(target=run).start()
    try:
        auth.tell("user.updated", user_id, name="Anna", avatar=None)
        eventually_named(client, "Anna", 2)
        auth.close()
        time.sleep(0.5)
        auth.tell("user.updated", user_id, name="Annabel", avatar=None)
        auth.open()
        eventually_named(client, "Annabel", 5)
    finally:
        reader.stop()
        assert ended.wait(10)
