from typing import Any

import pytest
from flask import Flask
from playhouse.test_utils import assert_query_count

from services.posts import post_queries
from services.posts.models import Post, database
from tests.conftest import on_sqlite
from tests.helpers import NOBODY
from tests.posts.conftest import Client, Headers, Write

URL = "/api/posts"
TITLES = ["delta", "Alpha", "écho", "Bravo", "charlie", "alpha"]
VIEWS = [5, 3, 9, 3, 0, 1]
EXPECTED = {
    "newest": [5, 4, 3, 2, 1, 0],
    "oldest": [0, 1, 2, 3, 4, 5],
    "title": [1, 5, 3, 4, 0, 2],
    "views": [2, 0, 3, 1, 5, 4],
    "likes": [2, 0, 3, 1, 5, 4],
}


@pytest.fixture
def posts(write: Write) -> list[str]:
    for title, views in zip(TITLES, VIEWS, strict=True):
        post = write(title=title, tags=["all", "both"], content="A lantern, and more")
        Post.update(views=views, like_count=views).where(Post.id == post["id"]).execute()
    return TITLES


def titles(client: Client, query: str, headers: Headers | None = None) -> list[str]:
    found, cursor = [], ""
    while True:
        answer = client.get(f"{URL}?limit=2&{query}{cursor}", headers=headers).json
        found += [post["title"] for post in answer["data"]]
        if not answer["pagination"]["hasMore"]:
            return found
        cursor = f"&cursor={answer['pagination']['nextCursor']}"


FILTERS = ["", "&author=ann", "&tag=all", "&tag=all&tag=both", "&tag=all&author=ann", "&q=lantern", "&q=lan&tag=all"]


@pytest.mark.parametrize("few", [0, 2000])
@pytest.mark.parametrize("sort", EXPECTED)
def test_sorts_go_with_every_filter(
    client: Client, posts: list[str], sort: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_queries, "MAX_SORTED", few)
    for filter in FILTERS:
        expected = [posts[index] for index in EXPECTED[sort]]
        assert titles(client, f"sort={sort}{filter}") == expected, filter
        by_page = [
            post["title"]
            for page in (1, 2, 3)
            for post in client.get(f"{URL}?limit=2&page={page}&sort={sort}{filter}").json["data"]
        ]
        assert by_page == expected, filter


@pytest.mark.parametrize("sort", EXPECTED)
def test_sorts_hide_what_is_hidden(client: Client, ann: Headers, write: Write, sort: str) -> None:
    write(title="Seen")
    write(title="A draft", status="draft")
    archived = write(title="Archived")
    client.patch(f"{URL}/{archived['id']}", json={"status": "archived"}, headers=ann)
    assert titles(client, f"sort={sort}") == ["Seen"]
    assert titles(client, f"sort={sort}&status=draft", ann) == ["A draft"]
    assert client.get(f"{URL}?sort={sort}").json["pagination"]["total"] == 1


def test_titles_are_sorted_alike_on_every_database(client: Client, write: Write) -> None:
    wanted = ["„Alpha“", "École", "eclair", "Zebra", "¿Zorro?", "Ωmega", "Ärger und Wut", "Äther"]
    for title in wanted:
        write(title=title)
    expected = ["„Alpha“", "Ärger und Wut", "Äther", "eclair", "École", "Zebra", "¿Zorro?", "Ωmega"]
    assert titles(client, "sort=title") == expected


@on_sqlite
def test_a_changed_title_moves_the_post(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="Zulu")
    write(title="Mike")
    client.patch(f"{URL}/{post['id']}", json={"title": "alpha"}, headers=ann)
    assert titles(client, "sort=title") == ["alpha", "Mike"]


@on_sqlite
@pytest.mark.parametrize("filter", FILTERS[:5])
@pytest.mark.parametrize("limit", [1, 6])
def test_a_sorted_list_costs_the_same_queries_whatever_its_length(
    client: Client, posts: list[str], filter: str, limit: int
) -> None:
    lookups = filter.count("tag=") == 2  # of which tag is the rarest
    with assert_query_count((3 if filter else 2) + lookups):
        assert len(client.get(f"{URL}?limit={limit}&sort=views{filter}").json["data"]) == limit


def plan_of(query: Any, order: Any, values: list[Any]) -> list[str]:
    sql, parameters = order.sort(order.after(query, values)).limit(20).sql()
    return [row[3] for row in database.execute_sql("EXPLAIN QUERY PLAN " + sql, parameters)]


@on_sqlite
@pytest.mark.parametrize("author, tags", [(None, []), (NOBODY, []), ("ann", []), (None, ["a", "b"]), ("ann", ["a"])])
@pytest.mark.parametrize(
    "sort, index, value",
    [
        ("title", "post_title_key_number", "m"),
        ("views", "post_views_number", 5),
        ("likes", "post_like_count_number", 5),
    ],
)
def test_sorts_of_many_posts_walk_the_order(
    app: Flask, monkeypatch: pytest.MonkeyPatch, sort: str, index: str, value: Any, author: str | None, tags: list[str]
) -> None:
    monkeypatch.setattr(post_queries, "MAX_SORTED", -1)
    plan = plan_of(*post_queries.filtered(post_queries.Filter(author, tuple(tags)), sort), [value, 7])
    assert any(index in step and ("<" in step or ">" in step) for step in plan), plan
    assert not any("TEMP B-TREE FOR ORDER" in step or step.startswith("SCAN post") for step in plan), plan


@on_sqlite
@pytest.mark.parametrize(
    "author, tags, index",
    [
        (NOBODY, [], "post_author_id_listed_at_number"),
        (None, ["a"], "post_tag_tag_id_listed_at_post_id"),
        (None, ["a", "b"], "post_tag_tag_id_listed_at_post_id"),
    ],
)
@pytest.mark.parametrize("sort", post_queries.SORTED)
def test_sorts_of_few_posts_start_from_the_filter(
    app: Flask, author: str | None, tags: list[str], index: str, sort: str
) -> None:
    plan = plan_of(
        *post_queries.filtered(post_queries.Filter(author, tuple(tags)), sort), ["m" if sort == "title" else 5, 7]
    )
    assert any(index in step for step in plan), plan
    assert not any(step.startswith("SCAN post") for step in plan), plan
