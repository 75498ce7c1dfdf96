from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from services.posts import categories as categorising
from services.posts.models import Category, Fact, Post, database
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import NOBODY
from tests.posts.conftest import Client, Headers, Write, on_postgres, refused
from tests.waiting import wait_until

URL = "/api/categories"


@pytest.fixture
def travel(client: Client, moderator: Headers) -> dict[str, Any]:
    answer = client.post(URL, json={"name": "Travel & more"}, headers=moderator)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{URL}/{answer.json['data']['id']}"
    data: dict[str, Any] = answer.json["data"]
    return data


def counts(client: Client, url: str = URL) -> dict[str, int]:
    return {row["name"]: row["postCount"] for row in client.get(url).json["data"]}


def titles(client: Client, **query: Any) -> list[str]:
    return [post["title"] for post in client.get("/api/posts", query_string=query).json["data"]]


def test_moderators_keep_categories(client: Client, moderator: Headers, travel: Any) -> None:
    assert (travel["slug"], travel["postCount"]) == ("travel-more", 0)
    answer = client.patch(f"{URL}/{travel['slug']}", json={"name": "Journeys"}, headers=moderator)
    assert (answer.json["data"]["name"], answer.json["data"]["slug"]) == ("Journeys", "travel-more")
    stale = client.patch(f"{URL}/{travel['id']}", json={"name": "X"}, headers=moderator | {"If-Match": '"1"'})
    refused(stale, 412, "PRECONDITION_FAILED", "name")
    assert client.delete(f"{URL}/{travel['id']}", headers=moderator).status_code == 204
    refused(client.delete(f"{URL}/{travel['id']}", headers=moderator), 404, "NOT_FOUND")
    assert counts(client) == {}


@pytest.mark.parametrize("name", ["Travel & more", "TRAVEL & MORE"])
def test_a_name_is_taken_once(client: Client, moderator: Headers, travel: Any, name: str) -> None:
    refused(client.post(URL, json={"name": name}, headers=moderator), 409, "CONFLICT")
    other = client.post(URL, json={"name": "Travel, more"}, headers=moderator).json["data"]
    assert other["slug"].startswith("travel-more-")
    refused(client.patch(f"{URL}/{other['id']}", json={"name": name}, headers=moderator), 409, "CONFLICT")
    assert Category.select().count() == 2


@on_sqlite
def test_others_only_read(client: Client, ann: Headers, travel: Any) -> None:
    for headers, status, code in (({}, 401, "UNAUTHORIZED"), (ann, 403, "FORBIDDEN")):
        refused(client.post(URL, json={"name": "X"}, headers=headers), status, code)
        refused(client.patch(f"{URL}/{travel['id']}", json={"name": "X"}, headers=headers), status, code)
        refused(client.delete(f"{URL}/{travel['id']}", headers=headers), status, code)


@on_sqlite
@pytest.mark.parametrize("given", [{}, {"name": ""}, {"name": "a" * 51}, {"name": "a\u0000"}, {"name": 1}])
def test_a_bad_name_is_refused(client: Client, moderator: Headers, given: Any) -> None:
    refused(client.post(URL, json=given, headers=moderator), 400, "VALIDATION_ERROR", "name")


@on_sqlite
@pytest.mark.parametrize("key", ["nothing", "x" * 500, "%00", NOBODY])
def test_what_is_not_there_is_not_found(client: Client, moderator: Headers, key: str) -> None:
    refused(client.patch(f"{URL}/{key}", json={"name": "X"}, headers=moderator), 404, "NOT_FOUND")


def test_a_category_of_an_earlier_version_is_found_first_as_it_is_spelled(client: Client, moderator: Headers) -> None:
    ids = []
    for name in ("Kılıç", "Old"):
        answer = client.post(URL, json={"name": name}, headers=moderator)
        ids.append(answer.json["data"]["id"])
    Category.update(slug="kılıç").where(Category.id == ids[1]).execute()
    for spelling, expected in (("kiliç", ids[0]), ("KILIÇ", ids[0]), ("kılıç", ids[1])):
        answer = client.patch(f"{URL}/{quote(spelling)}", json={"name": f"New {spelling}"}, headers=moderator)
        assert answer.json["data"]["id"] == expected


def test_posts_stand_in_a_category(client: Client, ann: Headers, moderator: Headers, write: Write, travel: Any) -> None:
    post = write(title="Inside lantern", category="travel-more", tags=["x"])
    write(title="Outside lantern", tags=["x"])
    assert post["category"] == {key: travel[key] for key in ("id", "name", "slug")}
    for query in ({}, {"tag": "x"}, {"author": "ann"}, {"q": "lantern"}, {"sort": "views"}, {"q": "lan", "tag": "x"}):
        assert titles(client, category="travel-more", **query) == ["Inside lantern"], query
    assert titles(client, category="nothing") == titles(client, category="nothing", q="lantern") == []
    address = f"/api/posts/{post['id']}"
    refused(client.patch(address, json={"category": "none"}, headers=ann), 400, "VALIDATION_ERROR", "category")
    assert client.patch(address, json={"category": None}, headers=ann).json["data"]["category"] is None
    assert titles(client, category="travel-more", q="lantern") == []
    client.patch(address, json={"category": "travel-more"}, headers=ann)
    assert titles(client, category="travel-more", q="lantern") == ["Inside lantern"]
    tag = client.get(address).headers["ETag"]
    assert client.delete(f"{URL}/travel-more", headers=moderator).status_code == 204
    after = client.get(address)
    assert (after.json["data"]["category"], after.headers["ETag"] == tag) == (None, False)
    assert titles(client, category="travel-more") == titles(client, category="travel-more", q="lantern") == []
    assert [item["category"] for item in client.get("/api/posts?tag=x&q=lantern").json["data"]] == [None, None]
    refused(client.patch(address, json={"category": "travel-more"}, headers=ann), 400, "VALIDATION_ERROR", "category")
    edited = client.patch(address, json={"title": "X y z"}, headers=ann | {"If-Match": tag})  # nobody else edited it
    assert (edited.status_code, edited.json["data"]["category"]) == (200, None)


def test_counts_follow_what_everybody_may_see(
    client: Client, ann: Headers, moderator: Headers, write: Write, travel: Any
) -> None:
    client.post(URL, json={"name": "Home"}, headers=moderator)
    post = write(category="travel-more", tags=["Red", "round"])
    write(category="travel-more", tags=["red"], status="draft")
    write(tags=["red"])
    address = f"/api/posts/{post['id']}"
    assert (counts(client), counts(client, "/api/tags")) == ({"Home": 0, "Travel & more": 1}, {"Red": 2, "round": 1})
    steps: list[tuple[str, Any, dict[str, int], dict[str, int]]] = [
        ("patch", {"status": "archived"}, {"Home": 0, "Travel & more": 0}, {"Red": 1}),
        ("patch", {"tags": ["new"], "category": "home"}, {"Home": 0, "Travel & more": 0}, {"Red": 1}),
        ("patch", {"status": "published"}, {"Home": 1, "Travel & more": 0}, {"Red": 1, "new": 1}),
        ("patch", {"tags": ["red"]}, {"Home": 1, "Travel & more": 0}, {"Red": 2}),
        ("delete", None, {"Home": 0, "Travel & more": 0}, {"Red": 1}),
        ("delete", None, {"Home": 0, "Travel & more": 0}, {"Red": 1}),
        ("restore", None, {"Home": 1, "Travel & more": 0}, {"Red": 2}),
        ("restore", None, {"Home": 1, "Travel & more": 0}, {"Red": 2}),
    ]
    for method, change, categories, tags in steps:
        if method == "restore":
            client.post(f"{address}/restore", headers=ann)
        else:
            getattr(client, method)(address, json=change, headers=ann)
        assert (counts(client), counts(client, "/api/tags")) == (categories, tags), change


def test_others_hear_when_a_category_shows_otherwise(client: Client, moderator: Headers, travel: Any) -> None:
    address = f"{URL}/{travel['id']}"
    for name in ("Travel & more", "Journeys"):
        client.patch(address, json={"name": name}, headers=moderator)
    client.delete(address, headers=moderator)
    facts = [(fact.type, fact.subject) for fact in Fact.select().order_by(Fact.id)]
    assert facts == [("category.updated", travel["id"]), ("category.deleted", travel["id"])]


def test_the_most_used_tag_comes_first(client: Client, write: Write) -> None:
    for tags in (["a"], ["b", "a"], ["b", "a"], ["c"]):
        write(tags=tags)
    answer = client.get("/api/tags?limit=2").json
    assert [(row["name"], row["postCount"]) for row in answer["data"]] == [("a", 3), ("b", 2)]
    following = client.get(f"/api/tags?limit=2&cursor={answer['pagination']['nextCursor']}").json
    assert [row["name"] for row in following["data"]] == ["c"]


def test_a_deleted_category_is_forgotten_later(
    frozen_clock: FrozenClock, client: Client, moderator: Headers, write: Write, travel: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(categorising, "BATCH_SIZE", 2)
    for _ in range(5):
        write(category=travel["slug"])
    client.delete(f"{URL}/{travel['id']}", headers=moderator)
    again = client.post(URL, json={"name": "Travel & more"}, headers=moderator).json["data"]
    assert (again["slug"], counts(client)) == (travel["slug"], {"Travel & more": 0})
    categorising.purge_deleted()
    assert Category.select().count() == 2  # somebody may have looked for it just before
    frozen_clock.advance(minutes=2)
    categorising.purge_deleted()
    assert [category.id for category in Category.select()] == [again["id"]]
    assert {(post.category_id, post.version) for post in Post.select()} == {(None, 1)}


@on_postgres
def test_a_category_is_deleted_while_posts_are_put_into_it(
    client: Client, moderator: Headers, travel: Any, write: Write, database_url: str
) -> None:
    """Who has the post will want the category: who deletes the category must not want the post meanwhile."""
    post, address = write(), f"{URL}/{travel['id']}"
    put, look = "UPDATE post SET category_id = %s WHERE id = %s", "SELECT 1 FROM post WHERE id = %s FOR UPDATE"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with (
        psycopg.connect(database_url) as first,
        psycopg.connect(database_url) as second,
        psycopg.connect(database_url, autocommit=True) as looking,
        ThreadPoolExecutor(2) as pool,
    ):
        first.execute(put, (travel["id"], post["id"]))
        locked = pool.submit(second.execute, look, (post["id"],))
        deleted = pool.submit(in_thread, lambda: client.delete(address, headers=moderator))
        wait_until(lambda: looking.execute(waiting).fetchone() == (2,), 5)
        first.commit()
        locked.result(5)
        second.execute("UPDATE category SET post_count = post_count + 1 WHERE id = %s", (travel["id"],))
        second.commit()
        assert deleted.result(5).status_code == 204
    assert client.get(f"/api/posts/{post['id']}").json["data"]["category"] is None


def in_thread(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        database.close()
