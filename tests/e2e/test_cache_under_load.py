"""Random writes and reads of several users at once: everybody sees what they wrote, and nobody what is another's."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from tests.e2e.stack import Stack

TURNS = 25
WRITERS = 3


@pytest.fixture(params=["one process", "two processes and Redis"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if request.param == "one process":
        yield request.getfixturevalue("stack")
        return
    settings = {"GATEWAY_WORKERS": "2", "REDIS_URL": request.getfixturevalue("redis_url")}
    stack = Stack(tmp_path_factory.mktemp("shared"), **settings)
    stack.start()
    yield stack
    stack.stop()


class Writer:
    """Somebody with one post, who does something to it at random and looks at once what strangers see."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack = stack
        self._random = random.Random(seed)
        account = stack.register(f"Writer {seed}")
        self._token, self.id = account["accessToken"], account["user"]["id"]
        post = stack.publish(self._token, f"Of {seed}")
        self._path = f"/api/posts/{post['id']}"
        self.paths = [
            self._path,
            f"/api/posts/{post['slug']}",
            f"{self._path}/comments",
            f"/api/posts?author={self.id}",
        ]
        self._shown = {"title": post["title"], "likeCount": 0, "commentCount": 0}
        self._hidden = False

    def act(self) -> None:
        acts: list[Callable[[], None]] = [self._rename, self._like, self._unlike, self._comment, self._archive]
        acts += [self._show] if self._hidden else [self._delete_and_restore]
        self._random.choice(acts)()
        self.look()
        self.look_at_own()

    def look(self) -> None:
        """Check what a stranger sees of the post."""
        by_id, by_slug, comments, listed = (self._ask("GET", path) for path in self.paths)
        if self._hidden:
            assert [by_id[0], by_slug[0], comments[0], listed[1]["data"]] == [404, 404, 404, []]
            return
        for found in (by_id[1]["data"], by_slug[1]["data"], listed[1]["data"][0]):
            assert {name: found[name] for name in self._shown} == self._shown
        assert len(comments[1]["data"]) == self._shown["commentCount"]

    def look_at_own(self) -> None:
        """Check that a list that only its owner may see has nobody else's posts, and came past the cache."""
        answer = self._stack.request("GET", "/api/posts?status=archived", token=self._token)
        assert (answer.headers["X-Cache"], answer.headers["Cache-Control"]) == ("BYPASS", "private, no-store")
        assert [post["author"]["id"] for post in orjson.loads(answer.data)["data"]] == [self.id] * self._hidden

    def _ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        # A connection for each, so that any of the gateway's processes may get it.
        answer = self._stack.request(method, path, body, token, Connection="close")
        return answer.status, orjson.loads(answer.data) if answer.data else None

    def _do(self, method: str, path: str = "", body: Any = None) -> None:
        status, answer = self._ask(method, self._path + path, body, self._token)
        assert status < 300, answer

    def _rename(self) -> None:
        self._shown["title"] = f"Title {self._random.random()}"
        self._do("PATCH", body={"title": self._shown["title"]})

    def _like(self) -> None:
        self._do("PUT", "/like")
        self._shown["likeCount"] = 1

    def _unlike(self) -> None:
        self._do("DELETE", "/like")
        self._shown["likeCount"] = 0

    def _comment(self) -> None:
        self._do("POST", "/comments", {"content": "Words"})
        self._shown["commentCount"] += 1

    def _archive(self) -> None:
        self._do("PATCH", body={"status": "archived"})
        self._hidden = True

    def _show(self) -> None:
        self._do("PATCH", body={"status": "published"})
        self._hidden = False

    def _delete_and_restore(self) -> None:
        self._do("DELETE")
        self._hidden = True
        self.look()
        self._do("POST", "/restore")
        self._hidden = False


def test_nobody_sees_old_or_foreign_pages_whatever_happens_at_once(loaded: Stack) -> None:
    writers = [Writer(loaded, seed) for seed in range(WRITERS)]
    stop = threading.Event()
    verdicts: set[str] = set()

    def keep_reading(number: int) -> None:
        choice = random.Random(number).choice
        while not stop.is_set():
            answer = loaded.request("GET", choice(choice(writers).paths), Connection="close")
            verdicts.add(answer.headers["X-Cache"])

    def write(writer: Writer) -> None:
        for _ in range(TURNS):
            writer.act()

    readers = [threading.Thread(target=keep_reading, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, writers))
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)
    assert {"HIT", "MISS"} <= verdicts
