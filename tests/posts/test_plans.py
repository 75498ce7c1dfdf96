"""Every query of every list finds its rows by an index, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
from flask import Flask

from services.posts import post_queries
from services.posts.config import Config
from services.posts.demo_data import seed
from services.posts.models import Author, Category, Post, PostTag, Tag, database
from shared.database.connection import is_postgres
from shared.ids import new_id
from tests.conftest import on_sqlite
from tests.posts.conftest import Client, Headers

TAGS = ("here", "there")
SORTS = ("newest", "oldest", "title", "views", "likes")
NARROW = ("author={author}", "tag={tag}", "tag={tag}&tag={other}", "category={category}", "author={author}&tag={tag}",
          "category={category}&tag={tag}", "author={author}&category={category}")  # fmt: skip
WIDE = ("", "author=writer", "author=writer&tag={tag}")
BIG = ("post", "post_content", "post_tag", "comment", "post_like", "post_view")

Explain = Callable[[str, str], list[str]]


@pytest.fixture
def app(app: Flask, settings: dict[str, str]) -> Flask:
    """An app with some posts, whose PostgreSQL looks through tables and sorts only where it has no other way."""
    seed(Config.load(settings), [(new_id(), "Writer")], 40, 30, lambda *_: None)
    category = Category.create(name="Home", folded="home", slug="home")
    Post.update(category=category).where(Post.number <= 30).execute()
    for tag in (Tag.create(folded=name, name=name) for name in TAGS):
        rows = Post.select(Post.number, tag.id, Post.listed_at).where(Post.number > 10)
        PostTag.insert_from(rows, [PostTag.post, PostTag.tag, PostTag.listed_at]).execute()
    if is_postgres(database):
        database.execute_sql("ANALYZE")
        database.execute_sql("SET enable_seqscan = off; SET enable_sort = off")
    return app


@contextmanager
def heard() -> Iterator[list[tuple[str, Any]]]:
    """Give the statements that are run meanwhile."""
    real, statements = database.obj.execute_sql, []

    def execute_sql(sql: str, values: Any = None, *rest: Any) -> Any:
        statements.append((sql, values))
        return real(sql, values, *rest)

    database.obj.execute_sql = execute_sql
    try:
        yield statements
    finally:
        del database.obj.execute_sql


def plan(sql: str, values: Any) -> list[str]:
    how = "EXPLAIN" if is_postgres(database) else "EXPLAIN QUERY PLAN"
    return [str(row[-1]).strip() for row in database.execute_sql(f"{how} {sql}", values).fetchall()]


def scans(steps: list[str]) -> list[str]:
    """Return the steps that go through all of a table which grows with the number of posts."""
    found = [step for step in steps if any(f"Seq Scan on {table} " in step for table in BIG)]
    walks = [step for step in steps if any(step.split(" USING ")[0] == f"SCAN {table}" for table in BIG)]
    return found + [step for step in walks if "USING" not in step]


def sorts(steps: list[str]) -> list[str]:
    """Return the steps that sort what was found before the first row is known."""
    return [step for step in steps if step.startswith(("Sort ", "USE TEMP B-TREE FOR ORDER", "-> Sort", "->  Sort"))]


def pages(client: Client, address: str, headers: Headers) -> list[tuple[str, Any]]:
    """Return the statements of a page by number and of the next one by cursor."""
    with heard() as statements:
        first = client.get(address, headers=headers)
        assert first.status_code == 200, first.text
        cursor = first.json["pagination"]["nextCursor"]
        assert cursor, address
        assert client.get(f"{address}&cursor={cursor}", headers=headers).status_code == 200
    return [(sql, values) for sql, values in statements if sql.startswith("SELECT")]


def filled(filter: str) -> str:
    names = {"tag": TAGS[0], "other": TAGS[1], "category": "home"}
    return filter.format(author=Author.get().id, **names)


@pytest.mark.parametrize("few", [True, False], ids=["few are sorted", "many are walked"])
def test_lists_of_all_posts(app: Flask, client: Client, monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    if not few:
        monkeypatch.setattr(post_queries, "MAX_SORTED", -1)
    for sort, filter in product(SORTS, (*NARROW, *WIDE)):
        for sql, values in pages(client, f"/api/posts?limit=1&sort={sort}&{filled(filter)}", {}):
            steps = plan(sql, values)
            assert not scans(steps), (sort, filter, steps)
            by_time = sort in ("newest", "oldest") and filter != "author=writer"
            if "ORDER BY" in sql and (not few or filter == "" or by_time):
                assert not sorts(steps), (sort, filter, steps)


def test_lists_of_drafts(app: Flask, client: Client, moderator: Headers) -> None:
    Post.update(status="draft", listed_at=None).where(Post.number <= 20).execute()
    for sort, filter in product(SORTS, ("author={author}", "author={author}&tag={tag}", NARROW[-1])):
        for sql, values in pages(client, f"/api/posts?limit=1&status=draft&sort={sort}&{filled(filter)}", moderator):
            assert not scans(plan(sql, values)), filter


def test_lists_of_comments_tags_and_matches(app: Flask, client: Client, moderator: Headers) -> None:
    post = Post.select().where(Post.comment_count > 1).get().id
    for address in (
        f"/api/posts/{post}/comments?limit=1",
        "/api/admin/comments?status=visible&limit=1",
        "/api/tags?limit=1",
        "/api/posts?q=a&limit=1",
        "/api/posts?q=a&limit=1&sort=newest",
        "/api/posts?q=a&limit=1&sort=views",
    ):
        for sql, values in pages(client, address, moderator):
            steps = plan(sql, values)
            assert not scans(steps), (address, steps)


@on_sqlite
@pytest.mark.parametrize("sort", SORTS)
def test_earlier_pages_are_passed_over_in_one_index(app: Flask, client: Client, sort: str) -> None:
    with heard() as statements:
        client.get(f"/api/posts?limit=3&page=4&sort={sort}")
    ((sql, values),) = [(sql, values) for sql, values in statements if "OFFSET" in sql]
    steps = database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    (passing_over,) = [number for number, _, _, step in steps if "SUBQUERY" in step]
    (step,) = [step for _, above, _, step in steps if above == passing_over]
    assert step.startswith(("SEARCH post USING", "SCAN post USING")), step
