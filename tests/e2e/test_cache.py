"""The cache before the real services: who writes sees it at once, everybody else soon."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.stack import Stack
from tests.waiting import wait_until


@pytest.fixture
def behind_a_proxy(tmp_path: Path) -> Iterator[Stack]:
    """An installation that believes this machine about the addresses of clients."""
    stack = Stack(tmp_path, TRUSTED_PROXIES="127.0.0.0/8")
    stack.start()
    yield stack
    stack.stop()


def read(stack: Stack, path: str, token: str | None = None) -> tuple[Any, str | None]:
    answer = stack.request("GET", path, token=token)
    assert answer.status == 200, answer.data
    return orjson.loads(answer.data)["data"], answer.headers.get("X-Cache")


def test_strangers_reads_come_from_the_cache(stack: Stack) -> None:
    """The first may miss twice, as the feed tells of the new post a moment later."""
    post = stack.publish(stack.register()["accessToken"])
    for path in ("/api/posts?limit=7", "/api/posts?q=words", f"/api/posts/{post['id']}/comments"):
        first, verdict = read(stack, path)
        assert verdict == "MISS"
        wait_until(lambda path=path, first=first: read(stack, path) == (first, "HIT"))


def test_nobody_reads_a_stale_page_after_an_own_write(stack: Stack) -> None:
    """Each of several writers reads back as a stranger, while others read the same pages all the time."""
    stop = threading.Event()
    tokens = [stack.register()["accessToken"] for _ in range(3)]
    posts = [stack.publish(token)["id"] for token in tokens]

    def write_and_read_back(number: int) -> None:
        path = f"/api/posts/{posts[number]}"
        for turn in range(12):
            title = f"Turn {turn} of {number}"
            assert stack.request("PATCH", path, {"title": title}, tokens[number]).status == 200
            assert read(stack, path)[0]["title"] == title
            assert title in {post["title"] for post in read(stack, "/api/posts?limit=100")[0]}
            comment = {"content": f"Comment {turn}"}
            assert stack.request("POST", f"{path}/comments", comment, tokens[number]).status == 201
            assert len(read(stack, f"{path}/comments")[0]) == turn + 1

    def keep_reading() -> None:
        while not stop.is_set():
            for post in posts:
                read(stack, f"/api/posts/{post}")
                read(stack, f"/api/posts/{post}/comments")
            read(stack, "/api/posts?limit=100")

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        with ThreadPoolExecutor(3) as writers:
            list(writers.map(write_and_read_back, range(3)))
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)


def test_a_deleted_post_is_gone_at_once(stack: Stack) -> None:
    token = stack.register()["accessToken"]
    path = f"/api/posts/{stack.publish(token)['id']}"
    read(stack, path)
    assert stack.request("DELETE", path, token=token).status == 204
    assert stack.request("GET", path).status == 404


def test_a_draft_is_its_authors_alone(stack: Stack) -> None:
    token = stack.register()["accessToken"]
    path = f"/api/posts/{stack.publish(token)['id']}"
    read(stack, path)
    stack.request("PATCH", path, {"status": "archived"}, token)
    assert read(stack, path, token)[1] == "BYPASS"
    assert stack.request("GET", path).status == 404


def test_a_write_past_the_gateway_is_seen_soon(stack: Stack) -> None:
    token = stack.register()["accessToken"]
    path = f"/api/posts/{stack.publish(token)['id']}"
    read(stack, path)
    assert stack.request("PATCH", path, {"title": "Elsewhere"}, token, service="posts").status == 200
    wait_until(lambda: read(stack, path)[0]["title"] == "Elsewhere")


def test_a_new_name_shows_on_cached_pages(stack: Stack) -> None:
    token = stack.register("Before")["accessToken"]
    path = f"/api/posts/{stack.publish(token)['id']}"
    read(stack, path)
    assert stack.request("PATCH", "/api/auth/me", {"name": "After"}, token).status == 200
    wait_until(lambda: read(stack, path)[0]["author"]["name"] == "After")


def test_views_of_cached_posts_count_as_others_do(behind_a_proxy: Stack) -> None:
    """Two viewers look at the service's answer and the cache's, by id and slug; each counts once."""
    stack = behind_a_proxy
    token = stack.register()["accessToken"]
    post = stack.publish(token)
    paths = [f"/api/posts/{post[name]}" for name in ("id", "slug")]
    verdicts = [
        stack.request("GET", path, X_Forwarded_For=viewer).headers["X-Cache"]
        for _ in range(3)
        for viewer in ("192.0.2.1", "192.0.2.2")
        for path in paths
    ]
    assert {"MISS", "HIT"} == set(verdicts)
    wait_until(lambda: read(stack, paths[0], token)[0]["views"] >= 3)
    assert read(stack, paths[0], token)[0]["views"] == 3
