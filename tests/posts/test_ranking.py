"""The order of matches is what adding up the weights of all posts would give, whatever way it is found."""

from typing import Any

import pytest

from services.posts.search import index
from services.posts.search.ranking import WEIGHTS
from tests.posts.conftest import Client, Headers, Write, body

URL = "/api/posts"
PLACES = [  # of "lantern" and "lamp": in the title, in the tags, in the content
    ("t", ""), ("g", "t"), ("tg", "g"), ("c", "c"), ("", "t"), ("tgc", "tg"), ("c", "g"), ("g", ""), ("t", "tc"),
    ("c", "c"), ("tg", "c"), ("", "c"), ("t", "g"), ("c", "t"),
]  # fmt: skip


@pytest.fixture
def posts(client: Client, write: Write, ann: Headers, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Write posts that have the words in all kinds of places, spread over several parts of the index."""
    monkeypatch.setattr(index, "PART_SIZE", 4)
    written = []
    for number, places in enumerate(PLACES):
        words = {kind: [w for w, at in zip(("lantern", "lamp"), places, strict=True) if kind in at] for kind in "tgc"}
        title, content = " ".join([f"Post {number}", *words["t"]]), " ".join(["Some of the text.", *words["c"]])
        written.append(write(title=title, tags=[*words["g"], "other"], content=content))
    client.delete(f"{URL}/{written[5]['id']}", headers=ann)
    client.put(f"{URL}/{written[2]['id']}", json=body(title="Without it", content="No such word here."), headers=ann)
    return written


def expected(posts: list[dict[str, Any]], *words: int) -> list[str]:
    ranked = []
    for number, places in enumerate(PLACES):
        if all(places[word] for word in words) and number not in (2, 5):
            score = sum(WEIGHTS["t"] * ("t" in places[word]) + WEIGHTS["g"] * ("g" in places[word]) for word in words)
            ranked.append((score, number))
    return [posts[number]["id"] for _, number in sorted(ranked, reverse=True)]


@pytest.mark.parametrize("question, words", [("lantern", [0]), ("la", None), ("lantern lamp", [0, 1]), ("LAMP", [1])])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_and_cursors_go_through_the_order(
    client: Client, posts: list[dict[str, Any]], question: str, words: list[int] | None, limit: int
) -> None:
    if words is None:  # the beginning of either
        whole = client.get(f"{URL}?q=la&limit=100").json["data"]
        order = [item["id"] for item in whole]
        assert set(order) == {*expected(posts, 0), *expected(posts, 1)}
    else:
        order = expected(posts, *words)
    by_page: list[str] = []
    by_cursor: list[str] = []
    place: dict[str, str] = {}
    while True:
        page = client.get(URL, query_string={"q": question, "limit": limit, "page": len(by_page) // limit + 1}).json
        following = client.get(URL, query_string={"q": question, "limit": limit} | place).json
        by_page += [item["id"] for item in page["data"]]
        by_cursor += [item["id"] for item in following["data"]]
        assert page["pagination"]["total"] == following["pagination"]["total"] == len(order)
        assert page["pagination"]["hasMore"] == following["pagination"]["hasMore"] == (len(by_page) < len(order))
        if not following["pagination"]["hasMore"]:
            break
        place = {"cursor": following["pagination"]["nextCursor"]}
    assert by_page == by_cursor == order


@pytest.mark.parametrize("question, words", [("lantern", [0]), ("lantern lamp", [0, 1])])
def test_only_the_newest_matches_are_ranked(
    client: Client, posts: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, question: str, words: list[int]
) -> None:
    newest = [item["id"] for item in client.get(f"{URL}?q={question}&sort=newest&limit=100").json["data"]]
    assert sorted(newest) == sorted(expected(posts, *words))
    monkeypatch.setattr(index, "MAX_MATCHES", 5)
    answer = client.get(f"{URL}?q={question}&limit=3").json
    following = client.get(f"{URL}?q={question}&limit=3&page=2").json
    ranked = [item["id"] for item in answer["data"] + following["data"]]
    assert ranked == [found for found in expected(posts, *words) if found in newest[:5]]
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsExact"]) == (5, len(newest) <= 5)
    for sort in ("relevance", "newest"):
        assert client.get(f"{URL}?q={question}&limit=5&page=2&sort={sort}").json["data"] == []
