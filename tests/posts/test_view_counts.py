import time
import unicodedata
from typing import Any

import pytest
from flask import Flask
from playhouse.test_utils import assert_query_count

from services.posts import view_counts as views
from services.posts.models import PostView
from services.posts.view_counts import ViewCounter
from shared.service import service_of
from tests.conftest import FrozenClock, on_sqlite
from tests.posts.conftest import Client, Headers, Write, refused

INTERNAL = "/internal/views"


@pytest.fixture
def counted(app: Flask) -> ViewCounter:
    found: ViewCounter = service_of(app).get(ViewCounter)
    return found


@pytest.fixture
def internal(app: Flask) -> Headers:
    return {"Authorization": f"Bearer {app.config['INTERNAL_TOKEN']}"}


def seen(client: Client, counted: ViewCounter, post: dict[str, Any]) -> int:
    counted.write()
    return int(client.get(f"/api/posts?author={post['author']['id']}").json["data"][0]["views"])


def test_each_viewer_counts_once_an_hour(
    frozen_clock: FrozenClock, client: Client, ann: Headers, write: Write, counted: ViewCounter
) -> None:
    post = write()
    for _ in range(3):
        client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
        client.get(f"/api/posts/{post['slug']}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert seen(client, counted, post) == 1
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.2"})
    client.get(f"/api/posts/{post['id']}", headers=ann | {"X-Forwarded-For": "192.0.2.1"})
    assert seen(client, counted, post) == 3
    frozen_clock.advance(minutes=59)
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert seen(client, counted, post) == 3
    frozen_clock.advance(minutes=1)
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert seen(client, counted, post) == 4


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "Prefetch"},
        {"X-Purpose": "preview"},
        {"X-Purpose": "prefetch"},
        {"Purpose": "preview"},
        {"Sec-Purpose": "prerender"},
        {"X-Moz": "prefetch"},
    ],
)
def test_a_prefetch_is_no_view(client: Client, write: Write, counted: ViewCounter, headers: Headers) -> None:
    post = write()
    assert client.get(f"/api/posts/{post['id']}", headers=headers).status_code == 200
    assert seen(client, counted, post) == 0


def test_a_head_is_no_view_nor_is_what_the_client_has_already(
    client: Client, write: Write, counted: ViewCounter
) -> None:
    post = write()
    etag = client.head(f"/api/posts/{post['id']}").headers["ETag"]
    assert client.get(f"/api/posts/{post['id']}", headers={"If-None-Match": etag}).status_code == 304
    assert seen(client, counted, post) == 0


def test_old_views_and_addresses_are_not_kept(
    frozen_clock: FrozenClock, client: Client, write: Write, counted: ViewCounter
) -> None:
    first, second = write(), write()
    client.get(f"/api/posts/{first['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    counted.write()
    assert "192" not in PostView.get().viewer
    frozen_clock.advance(hours=2)
    client.get(f"/api/posts/{second['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    counted.write()
    assert PostView.select().count() == 1


def test_a_view_costs_the_read_no_query(client: Client, write: Write) -> None:
    post = write()
    with assert_query_count(1):
        client.get(f"/api/posts/{post['id']}")


def test_drafts_have_no_views(
    client: Client, ann: Headers, write: Write, counted: ViewCounter, internal: Headers
) -> None:
    post = write(status="draft")
    client.get(f"/api/posts/{post['id']}", headers=ann)
    client.post(INTERNAL, json=[{"post": post["id"], "viewer": "192.0.2.1"}], headers=internal)
    counted.write()
    assert client.get(f"/api/posts/{post['id']}", headers=ann).json["data"]["views"] == 0


def test_the_gateway_hands_over_views(client: Client, write: Write, counted: ViewCounter, internal: Headers) -> None:
    post = write()
    views = [
        {"post": key, "viewer": viewer}
        for key in (post["id"], post["slug"], "nothing")
        for viewer in ("192.0.2.1", "b")
    ]
    assert client.post(INTERNAL, json=views, headers=internal).status_code == 204
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert seen(client, counted, post) == 2


def test_a_view_counts_for_any_spelling_of_the_slug(
    client: Client, write: Write, counted: ViewCounter, internal: Headers
) -> None:
    post = write(title="Élan " + "한국어" * 26)
    decomposed = unicodedata.normalize("NFD", post["slug"])
    assert len(decomposed) > 120
    views = [{"post": key, "viewer": "a"} for key in (decomposed, post["slug"].upper(), post["slug"])]
    assert client.post(INTERNAL, json=views, headers=internal).status_code == 204
    assert seen(client, counted, post) == 1


@on_sqlite
@pytest.mark.parametrize(
    "given", [{}, [1], [{"post": "x"}], [{"post": "x", "viewer": "a\u0000"}], [{"post": 1, "viewer": "a"}]]
)
def test_a_bad_batch_is_refused(client: Client, internal: Headers, given: Any) -> None:
    answer = client.post(INTERNAL, json=given, headers=internal)
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")


@on_sqlite
def test_only_the_own_installation_hands_over_views(client: Client, ann: Headers) -> None:
    for headers in ({}, ann, {"Authorization": "Bearer wrong"}):
        refused(client.post(INTERNAL, json=[], headers=headers), 404, "NOT_FOUND")


def test_views_survive_a_failure_of_the_database(
    client: Client, write: Write, counted: ViewCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = write()
    client.get(f"/api/posts/{post['id']}")
    with monkeypatch.context() as broken:
        broken.setattr(views, "_count", lambda noted: 1 / 0)
        assert not counted._works()
    assert seen(client, counted, post) == 1


@on_sqlite
def test_endless_views_take_no_endless_memory(counted: ViewCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_PENDING", 3)
    for number in range(9):
        counted.record(number, "a")
    assert len(counted._pending) == 3


def test_the_thread_writes_each_second_and_at_the_end(
    client: Client, write: Write, counted: ViewCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, "pause", 0.02)
    post = write()
    counted.start()
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    end = time.monotonic() + 5
    while not PostView.select().count() and time.monotonic() < end:
        time.sleep(0.02)
    assert PostView.select().count() == 1
    monkeypatch.setattr(counted, "pause", 60)
    client.get(f"/api/posts/{post['id']}", headers={"X-Forwarded-For": "192.0.2.2"})
    counted.stop()
    assert seen(client, counted, post) == 2


def test_a_list_that_is_too_long_is_refused_before_its_items_are_read(client: Client, internal: Headers) -> None:
    answer = client.post(INTERNAL, json=[{}] * 5001, headers=internal)
    assert (answer.status_code, "At most 5000 views at once." in answer.text) == (400, True)
