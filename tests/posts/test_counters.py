"""Counts of tags and categories, when many change them at once."""

from functools import partial
from typing import Any

from services.posts.models import Category, Counter, PostTag, Tag
from tests.posts.conftest import Client, Headers, Write, at_once, body

URL = "/api/posts"
TURNS = 12


def test_who_swaps_tags_and_categories_never_waits_for_each_other_in_a_circle(
    client: Client, write: Write, ann: Headers, moderator: Headers
) -> None:
    slugs = [
        client.post("/api/categories", json={"name": name}, headers=moderator).json["data"]["slug"]
        for name in ("Left", "Right")
    ]
    sides = [{"tags": ["a", "c"], "category": slugs[0]}, {"tags": ["b", "a"], "category": slugs[1]}]
    posts = [write(**side)["id"] for side in sides]

    def swap(number: int) -> list[int]:
        return [
            client.patch(f"{URL}/{posts[number]}", json=sides[(number + turn + 1) % 2], headers=ann).status_code
            for turn in range(TURNS)
        ]

    assert at_once(lambda: swap(0), lambda: swap(1)) == [[200] * TURNS] * 2
    assert {tag.name: tag.post_count for tag in Tag.select()} == {"a": 2, "b": 1, "c": 1}
    assert [category.post_count for category in Category.select()] == [1, 1]


def test_new_posts_and_edits_with_the_same_new_tags_do_not_either(client: Client, write: Write, ann: Headers) -> None:
    posts = [write(tags=["z"])["id"] for _ in range(2)]

    def edit(number: int, turn: int) -> int:
        change = {"tags": [f"new {turn}", "a", "z"][:: 1 - 2 * (number % 2)]}
        return int(client.patch(f"{URL}/{posts[number]}", json=change, headers=ann).status_code)

    def create(number: int, turn: int) -> int:
        tags = ["a", f"new {turn}", "z"][:: 1 - 2 * (number % 2)]
        return int(client.post(URL, json=body(tags=tags), headers=ann).status_code)

    for turn in range(TURNS):
        calls: list[Any] = [partial(call, number, turn) for call in (edit, create) for number in (0, 1)]
        assert sorted(at_once(*calls)) == [200, 200, 201, 201]
    counted = {tag.id: tag.post_count for tag in Tag.select()}
    assert counted == {tag: PostTag.select().where(PostTag.tag == tag).count() for tag in counted}
    assert Counter.listed_posts() == 2 + 2 * TURNS


def test_tags_are_counted_whatever_way_they_are_written(client: Client, write: Write, ann: Headers) -> None:
    post = write(tags=["Ärger", "ÄRGER", "b"])
    write(tags=["ärger"], status="draft")
    write(tags=["äRGER"])
    assert post["tags"] == ["Ärger", "b"]
    assert {row["name"]: row["postCount"] for row in client.get("/api/tags").json["data"]} == {"Ärger": 2, "b": 1}
    client.patch(f"{URL}/{post['id']}", json={"tags": ["ärgeR"]}, headers=ann)
    assert {row["name"]: row["postCount"] for row in client.get("/api/tags").json["data"]} == {"Ärger": 2}
