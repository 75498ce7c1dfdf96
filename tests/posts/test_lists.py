from collections.abc import Callable
from typing import Any

import peewee
import pytest
from flask import Flask
from playhouse.test_utils import assert_query_count

from services.posts import post_queries
from services.posts.models import Post, PostTag, database
from shared.ids import new_id
from tests.conftest import on_sqlite
from tests.posts.conftest import AsUser, Client, Headers, Write, refused

URL = "/api/posts"


def titles(client: Client, query: str = "", headers: Headers | None = None) -> list[str]:
    answer = client.get(f"{URL}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return [post["title"] for post in answer.json["data"]]


def test_the_newest_comes_first_and_no_content_with_it(client: Client, write: Write) -> None:
    for number in range(3):
        write(title=f"Post {number}")
    assert titles(client) == ["Post 2", "Post 1", "Post 0"]
    (post, *_) = client.get(URL).json["data"]
    assert {"content", "excerpt"} & set(post) == {"excerpt"}


def test_newest_is_by_publication(client: Client, ann: Headers, write: Write) -> None:
    draft = write(title="Drafted first", status="draft")
    write(title="Published first")
    client.patch(f"{URL}/{draft['id']}", json={"status": "published"}, headers=ann)
    assert titles(client) == ["Drafted first", "Published first"]


def test_pages_have_totals_and_links(client: Client, write: Write) -> None:
    for number in range(5):
        write(title=f"Post {number}", tags=["all"])
    answer = client.get(f"{URL}?limit=2&page=2&tag=all")
    place = answer.json["pagination"]
    assert [post["title"] for post in answer.json["data"]] == ["Post 2", "Post 1"]
    assert (place["page"], place["limit"], place["total"], place["totalPages"]) == (2, 2, 5, 3)
    assert (place["totalIsExact"], place["hasMore"]) == (True, True)
    assert 'limit=2&tag=all&page=3>; rel="next"' in answer.headers["Link"]
    beyond = client.get(f"{URL}?limit=2&page=9").json
    assert (beyond["data"], beyond["pagination"]["total"]) == ([], 5)


def walk(client: Client, query: str, between: Callable[[], object] = lambda: None) -> list[str]:
    """Follow the cursor to the end, and do something between the pages."""
    found, cursor = [], ""
    while True:
        answer = client.get(f"{URL}?limit=3{query}{cursor}").json
        found += [post["title"] for post in answer["data"]]
        if not answer["pagination"]["hasMore"]:
            return found
        cursor = f"&cursor={answer['pagination']['nextCursor']}"
        between()


@pytest.mark.parametrize("query", ["", "&tag=all", "&tag=all&tag=other", "&author=ann", "&tag=all&author=ann"])
def test_a_cursor_shows_every_post_once_while_new_ones_are_written(client: Client, write: Write, query: str) -> None:
    for number in range(10):
        write(title=f"Post {number}", tags=["All", "other"])
    found = walk(client, query, lambda: write(title="New one", tags=["all", "other"]))
    assert found == [f"Post {number}" for number in range(9, -1, -1)]


def test_posts_of_one_moment_are_all_seen(client: Client, write: Write) -> None:
    for number in range(7):
        write(title=f"Post {number}", tags=["all"])
    moment = Post.select().first().listed_at
    Post.update(listed_at=moment).execute()
    PostTag.update(listed_at=moment).execute()
    for query in ("", "&tag=all"):
        assert sorted(walk(client, query)) == [f"Post {number}" for number in range(7)]


def test_tags_narrow_the_list(client: Client, write: Write) -> None:
    write(title="Both", tags=["Red", "Round"])
    write(title="Red only", tags=["red"])
    write(title="A draft", tags=["red"], status="draft")
    write(title="None")
    assert titles(client, "?tag=RED") == ["Red only", "Both"]
    write(title="All", tags=["Red", "Round", "Flat", "New"])
    assert titles(client, "?tag=round&tag=red") == ["All", "Both"]
    assert titles(client, "?tag=flat&tag=red&tag=RED&tag=new&tag=round") == ["All"]
    assert titles(client, "?tag=flat&tag=red&tag=round&tag=blue") == []
    assert titles(client, "?tag=red&tag=blue") == titles(client, "?tag=blue") == titles(client, "?tag=50%25") == []


def test_changed_tags_and_statuses_show_at_once(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="Moved", tags=["old"])
    address = f"{URL}/{post['id']}"
    client.patch(address, json={"tags": ["new"]}, headers=ann)
    assert (titles(client, "?tag=old"), titles(client, "?tag=new")) == ([], ["Moved"])
    client.patch(address, json={"status": "archived"}, headers=ann)
    assert titles(client, "?tag=new") == titles(client) == []
    client.patch(address, json={"status": "published"}, headers=ann)
    assert titles(client, "?tag=new") == titles(client) == ["Moved"]
    client.delete(address, headers=ann)
    assert titles(client, "?tag=new") == titles(client) == []


@pytest.mark.parametrize(
    "author, found",
    [
        ("ÄNNE", ["By Änne"]),
        ("nne", ["By Änne"]),
        ("bob", ["By Bob"]),
        ("n", ["By Änne"]),
        ("%", []),
        ("_", []),
        ("\\", []),
    ],
)
def test_an_author_is_found_by_a_part_of_the_name(
    client: Client, as_user: AsUser, bob: Headers, write: Write, author: str, found: list[str]
) -> None:
    write(as_user("Änne"), title="By Änne")
    write(bob, title="By Bob")
    assert titles(client, f"?author={author}" if author != "%" else "?author=%25") == found


@pytest.mark.parametrize(
    "author, found", [("jose", True), ("JOSÉ", True), ("Jose\u0301", True), ("nunez", True), ("\u0301", False)]
)
def test_an_author_is_found_without_accents(
    client: Client, as_user: AsUser, write: Write, author: str, found: bool
) -> None:
    write(as_user("José Núñez"), title="His", content="A lantern.")
    for query in ({}, {"q": "lantern"}, {"sort": "title"}):
        answer = client.get("/api/posts", query_string={"author": author} | query)
        assert len(answer.json["data"]) == int(found), query


def test_an_author_is_found_by_id(client: Client, bob: Headers, write: Write) -> None:
    post = write(bob, title="By Bob")
    write(title="By Ann")
    assert titles(client, f"?author={post['author']['id']}") == ["By Bob"]
    assert titles(client, f"?author={new_id()}") == []


def test_drafts_are_for_their_author_and_moderators(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, write: Write
) -> None:
    draft = write(title="Ann's draft", status="draft", tags=["x"])
    write(bob, title="Bob's draft", status="draft", tags=["x"])
    ann_id = draft["author"]["id"]
    assert (
        titles(client) == titles(client, "?tag=x") == titles(client, "?author=ann") == titles(client, headers=ann) == []
    )
    assert titles(client, "?status=draft", ann) == titles(client, "?status=draft&tag=x", ann) == ["Ann's draft"]
    assert (
        titles(client, f"?status=draft&author={ann_id}", bob) == titles(client, "?status=draft&author=ann", bob) == []
    )
    assert titles(client, "?status=draft&author=bob", bob) == ["Bob's draft"]
    assert titles(client, f"?status=draft&author={ann_id}", moderator) == ["Ann's draft"]
    assert titles(client, "?status=draft", moderator) == titles(client, "?status=archived", ann) == []
    refused(client.get(f"{URL}?status=draft"), 401, "UNAUTHORIZED")
    for headers in ({}, bob):
        refused(client.get(f"{URL}/{draft['id']}", headers=headers), 404, "NOT_FOUND")
        refused(client.get(f"{URL}/{draft['slug']}", headers=headers), 404, "NOT_FOUND")
        refused(client.get(f"{URL}/{draft['id']}/comments", headers=headers), 404, "NOT_FOUND")
    for headers in (ann, moderator):
        assert client.get(f"{URL}/{draft['slug']}", headers=headers).status_code == 200


def test_a_deleted_draft_is_in_no_list(client: Client, ann: Headers, write: Write) -> None:
    draft = write(status="draft")
    client.delete(f"{URL}/{draft['id']}", headers=ann)
    assert titles(client, "?status=draft", ann) == []


@on_sqlite
def test_the_total_is_exact_for_all_posts_and_a_floor_for_many_matches(
    client: Client, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.pagination.COUNT_CAP", 2)
    for _ in range(3):
        write(tags=["all", "each"])
    for query, total, exact in (("", 3, True), ("?tag=all&tag=each", 2, False), ("?author=ann", 2, False)):
        place = client.get(URL + query).json["pagination"]
        assert (place["total"], place["totalIsExact"]) == (total, exact)


def test_the_total_follows_every_change(client: Client, ann: Headers, write: Write) -> None:
    def total() -> int:
        return int(client.get(f"{URL}?limit=1").json["pagination"]["total"])

    posts = [write(title=f"Post {number}") for number in range(3)] + [write(status="draft")]
    assert total() == 3
    steps = [(0, "archived", 2), (0, "published", 3), (3, "published", 4), (3, "published", 4), (3, "draft", 3)]
    for index, status, expected in steps:
        client.patch(f"{URL}/{posts[index]['id']}", json={"status": status}, headers=ann)
        assert total() == expected
    for index, expected in ((0, 2), (0, 2), (3, 2)):
        client.delete(f"{URL}/{posts[index]['id']}", headers=ann)
        assert total() == expected


@on_sqlite
@pytest.mark.parametrize(
    "query, field",
    [
        ("?page=0", "page"),
        ("?page=x", "page"),
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=1.5", "limit"),
        ("?cursor=nonsense", "cursor"),
        ("?cursor=%00", "cursor"),
        ("?page=1&cursor=x", "cursor"),
        ("?page=1&page=2", "page"),
        ("?status=deleted", "status"),
        ("?author=a%00b", "author"),
        ("?tag=" + "a" * 51, "tag.0"),
        ("?tag=a%00", "tag.0"),
        ("?q=a%00", "q"),
        ("?unknown=1", "unknown"),
    ],
)
def test_bad_queries_are_refused(client: Client, query: str, field: str) -> None:
    refused(client.get(URL + query), 400, "VALIDATION_ERROR", field)


def test_an_empty_value_counts_as_absent(client: Client, write: Write) -> None:
    write(title="Post")
    assert titles(client, "?tag=&author=&status=&page=&cursor=") == ["Post"]


def test_a_cursor_serves_its_own_list_only(client: Client, write: Write) -> None:
    for _ in range(3):
        write(tags=["all"])
    cursor = client.get(f"{URL}?limit=2").json["pagination"]["nextCursor"]
    refused(client.get(f"{URL}?tag=all&cursor={cursor}"), 400, "VALIDATION_ERROR", "cursor")
    altered = ("A" if cursor[-5] != "A" else "B").join((cursor[:-5], cursor[-4:]))
    refused(client.get(f"{URL}?cursor={altered}"), 400, "VALIDATION_ERROR", "cursor")


@pytest.mark.parametrize(
    "query, queries", [("", 2), ("&tag=a", 2), ("&tag=a&tag=b", 3), ("&author=ann", 3), ("&tag=a&author=ann", 2)]
)
@pytest.mark.parametrize("limit", [1, 12])
def test_a_list_costs_the_same_queries_whatever_its_length(
    client: Client, as_user: AsUser, write: Write, limit: int, query: str, queries: int
) -> None:
    for number in range(12):
        write(as_user(f"Ann {number}"), tags=["a", "b", "c"])
    client.get(URL)
    with assert_query_count(queries):
        assert len(client.get(f"{URL}?limit={limit}{query}").json["data"]) == limit


def test_the_posts_of_one_tag_or_category_are_counted_exactly(
    client: Client, write: Write, moderator: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.pagination.COUNT_CAP", 2)
    home = client.post("/api/categories", json={"name": "Home"}, headers=moderator).json["data"]["slug"]
    for status in ("published", "published", "published", "draft"):
        write(tags=["A", "b"], category=home, status=status)
    totals = [
        (answer["total"], answer["totalIsExact"])
        for query in ("tag=a", f"category={home}", "tag=a&tag=b", f"tag=a&category={home}", "tag=none", "category=none")
        for answer in [client.get(f"{URL}?{query}").json["pagination"]]
    ]
    assert totals == [(3, True), (3, True), (2, False), (2, False), (0, True), (0, True)]


def test_one_post_costs_one_query(client: Client, write: Write) -> None:
    post = write(tags=["a", "b"])
    with assert_query_count(1):
        client.get(f"{URL}/{post['id']}")
    with assert_query_count(1):
        client.get(f"{URL}/{post['slug']}")


@on_sqlite
@pytest.mark.parametrize(
    "query, order, index",
    [
        (post_queries.listed, post_queries.NEWEST, "post_listed_at_number"),
        (lambda: post_queries.listed().where(post_queries.written_by(new_id())), post_queries.NEWEST,
         "post_author_id_listed_at_number"),
        (lambda: post_queries.listed_with(["a", "b"]), post_queries.NEWEST_OF_TAG, "post_tag_tag_id_listed_at_post_id"),
        (lambda: post_queries.with_status("draft", []).where(post_queries.written_by(new_id())),
         post_queries.LAST_CREATED,
         "post_author_id_status_created_at_number"),
        (lambda: post_queries.comments_of(1), post_queries.EARLIEST_COMMENT, "comment_post_id_number"),
    ],
)  # fmt: skip
def test_lists_walk_an_index_and_never_sort(app: Flask, query: Any, order: Any, index: str) -> None:
    place = ["2026-01-01T00:00:00.000000Z", 5][-len(order._columns) :]
    sql, values = order.sort(order.after(query(), place)).limit(20).sql()
    plan = [row[3] for row in database.execute_sql("EXPLAIN QUERY PLAN " + sql, values)]
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan
    (walk,) = [step for step in plan if index in step]
    assert "<" in walk or ">" in walk  # the cursor is found in the index too


def test_twenty_tags_take_no_more_joins_than_three(app: Flask) -> None:
    """Each join doubles what PostgreSQL plans: 20 took it 0.4 s."""
    three, twenty = (post_queries.listed_with(list("abcdefghijklmnopqrst"[:number])).sql()[0] for number in (3, 20))
    assert twenty.count("SELECT") == three.count("SELECT")


@on_sqlite
@pytest.mark.parametrize("query", [post_queries.listed, lambda: post_queries.listed_with(["a"])])
def test_counting_needs_no_author(app: Flask, query: Any) -> None:
    sql, values = query().select(peewee.SQL("1")).limit(5).sql()
    plan = [row[3] for row in database.execute_sql("EXPLAIN QUERY PLAN " + sql, values)]
    assert not any(step.startswith(("SCAN author", "SEARCH author")) for step in plan), plan


def test_behind_the_last_post_none_is_looked_for(client: Client, write: Write) -> None:
    write()
    for query in ("page=2", "page=1000000000&sort=title", "page=2&tag=x"):
        with assert_query_count(1):
            assert client.get(f"/api/posts?{query}").json["data"] == []
