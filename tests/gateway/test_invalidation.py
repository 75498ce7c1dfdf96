"""Nobody reads a stale page after an own write, and everybody else soon reads the new one."""

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from services.gateway.cache.feed_invalidation import InvalidationConsumer, changed_tags
from services.gateway.cache.store import Store
from services.gateway.config import Config
from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy.circuit_breaker import THRESHOLD
from services.gateway.routes import SERVICES
from tests.gateway.conftest import Connected, as_user
from tests.gateway.test_store import entry
from tests.gateway.upstreams import Behaviour, Line, Upstream, json_response, response, say
from tests.gateway.wsgi_client import WsgiClient

SHARED = "Cache-Control: public, s-maxage=60, stale-while-revalidate=60"
USER = as_user()
TOKEN = secrets.token_hex(32)


class Book:
    """A service with pages that a write to `/api/posts/<n>` turns; `slow` holds a read after it has looked."""

    def __init__(self) -> None:
        self.version = 1
        self.tags: str | None = "page-{}"
        self.status = "200 OK"
        self.slow_writes = 0.0
        self.slow = threading.Event()
        self.looked = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, line: Line) -> None:
        while request := line.read():
            tag = (self.tags or "").format(request.target.rpartition("/")[2])
            if request.method == "GET":
                body = str(self.version).encode()
                if self.slow.is_set():
                    self.looked.set()
                    self.go_on.wait(5)
                line.send(response(body, "200 OK", SHARED, f"Cache-Tag: {tag}"))
            else:
                time.sleep(self.slow_writes)
                self.version += 1
                line.send(response(b"", self.status, *([f"Cache-Tag: {tag}"] if self.tags else [])))


@pytest.fixture
def book(posts: Upstream) -> Book:
    posts.behaviour = book = Book()
    return book


def test_a_write_purges_what_it_touched_and_nothing_else(client: WsgiClient, book: Book) -> None:
    for page in "12":
        client.get(f"/api/posts/{page}")
    answer = client.request("PATCH", "/api/posts/1", USER, b"{}")
    assert answer.header("Cache-Tag") is None
    assert client.get("/api/posts/1").body == b"2"
    assert client.get("/api/posts/2").header("X-Cache") == "HIT"


@pytest.mark.parametrize("status, purged", [("200 OK", True), ("303 See Other", True), ("409 No", False)])
def test_a_write_that_does_not_say_what_it_touched_has_touched_all(
    client: WsgiClient, book: Book, status: str, purged: bool
) -> None:
    client.get("/api/posts/2")
    book.tags, book.status = None, status
    client.request("PATCH", "/api/posts/1", USER, b"{}")
    assert client.get("/api/posts/2").body == (b"2" if purged else b"1")


def fail(line: Line) -> None:
    while line.read():
        line.send(response(b"", "503 Busy"))


@pytest.mark.parametrize("behaviour, status", [(say(b"garbage"), 502), (fail, 503)])
def test_a_write_of_which_nobody_knows_what_became_makes_all_stale_but_not_gone(
    client: WsgiClient, posts: Upstream, book: Book, behaviour: Behaviour, status: int
) -> None:
    client.get("/api/posts/2")
    posts.hang_up()
    posts.behaviour = behaviour
    for _ in range(2):
        assert client.request("PATCH", "/api/posts/1", USER, b"{}").status == status
        assert client.get("/api/posts/2").header("X-Cache") == "STALE"
    posts.hang_up()
    posts.behaviour = book
    assert client.request("PATCH", "/api/posts/2", USER, b"{}").status == 200
    assert client.get("/api/posts/2").header("X-Cache") == "MISS"


def test_a_5xx_that_says_what_it_touched_outdates_that_alone(client: WsgiClient, book: Book) -> None:
    for page in "12":
        client.get(f"/api/posts/{page}")
    book.status = "500 Oh"
    client.request("PATCH", "/api/posts/1", USER, b"{}")
    assert [client.get(f"/api/posts/{page}").header("X-Cache") for page in "12"] == ["MISS", "HIT"]


def test_a_write_that_was_never_sent_purges_nothing(client: WsgiClient, posts: Upstream, book: Book) -> None:
    client.get("/api/posts/2")
    posts.stop_listening()
    posts.hang_up()
    for _ in range(2 * THRESHOLD):  # refused by the service's machine, then by the breaker
        assert client.request("PATCH", "/api/posts/1", USER, b"{}").status == 503
        assert client.get("/api/posts/2").header("X-Cache") == "HIT"


class BrokenChunk:
    """A body that its client sends as no valid chunked coding."""

    def read(self, size: int) -> bytes:
        raise ValueError


def test_a_write_whose_body_is_broken_purges_nothing(client: WsgiClient, posts: Upstream, book: Book) -> None:
    client.get("/api/posts/1")
    environ = client.environ("PATCH", "/api/posts/1", USER, None)
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": BrokenChunk()}
    answers: list[str] = []
    b"".join(client.app(environ, lambda status, *_: answers.append(status)))
    assert answers[0][:3] == "400"
    assert client.get("/api/posts/1").header("X-Cache") == "HIT"
    assert len(posts.received) == 1


def test_a_write_whose_client_leaves_purges_what_it_touched(
    client: WsgiClient, book: Book, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CLIENT_CHECK", 0.02)
    for page in "12":
        client.get(f"/api/posts/{page}")
    book.slow_writes = 0.2
    connected.theirs.close()
    environ = client.environ("PATCH", "/api/posts/1", USER, b"{}") | {"gunicorn.socket": connected.ours}
    b"".join(client.app(environ, lambda *_: None))
    assert [client.get(f"/api/posts/{page}").header("X-Cache") for page in "12"] == ["MISS", "HIT"]


def test_a_refused_write_purges_nothing(client: WsgiClient, book: Book) -> None:
    client.get("/api/posts/1")
    assert client.request("PATCH", "/api/posts/1", body=b"{}").status == 401
    assert client.get("/api/posts/1").header("X-Cache") == "HIT"


def test_a_read_that_began_before_a_write_does_not_bring_the_old_page_back(client: WsgiClient, book: Book) -> None:
    book.slow.set()
    reading = threading.Thread(target=client.get, args=("/api/posts/1",))
    reading.start()
    assert book.looked.wait(5)
    book.slow.clear()
    client.request("PATCH", "/api/posts/1", USER, b"{}")
    book.go_on.set()
    reading.join(5)
    assert client.get("/api/posts/1").body == b"2"


def test_a_writer_does_not_wait_for_a_read_that_began_before_the_write(client: WsgiClient, book: Book) -> None:
    book.slow.set()
    reading = threading.Thread(target=client.get, args=("/api/posts/1",))
    reading.start()
    assert book.looked.wait(5)
    book.slow.clear()
    client.request("PATCH", "/api/posts/1", USER, b"{}")
    bodies: list[bytes] = []
    own = threading.Thread(target=lambda: bodies.append(client.get("/api/posts/1").body))
    own.start()
    time.sleep(0.05)
    book.go_on.set()
    reading.join(5)
    own.join(5)
    assert bodies == [b"2"]


def test_a_stale_page_that_was_purged_is_gone_even_when_the_service_fails(
    client: WsgiClient, posts: Upstream, book: Book
) -> None:
    client.get("/api/posts/1")
    client.request("PATCH", "/api/posts/1", USER, b"{}")
    posts.hang_up()
    posts.behaviour = lambda line: None
    assert client.get("/api/posts/1").status == 502


class Counting:
    """A service whose writes raise the number that its page shows."""

    def __init__(self) -> None:
        self.numbers = {"1": 0, "2": 0}
        self._lock = threading.Lock()

    def __call__(self, line: Line) -> None:
        while request := line.read():
            page = request.target.rpartition("/")[2]
            with self._lock:
                self.numbers[page] += request.method == "PATCH"
                body = str(self.numbers[page]).encode()
            time.sleep(0.002)
            marks = [SHARED] if request.method == "GET" else []
            line.send(response(body, "200 OK", f"Cache-Tag: page-{page}", *marks))


def write_and_read_back(client: WsgiClient, writer: int, elsewhere: WsgiClient | None = None) -> list[tuple[int, int]]:
    """Return what was written and read after it, perhaps elsewhere, each time that this was older."""
    page, mistakes = f"/api/posts/{writer % 2 + 1}", []
    for turn in range(30):
        mine = WsgiClient(client.app, f"198.51.{writer}.{turn}")
        written = int(mine.request("PATCH", page, as_user(), b"{}").body)
        own = WsgiClient((elsewhere or client).app, mine.address)
        read = int(own.get(page).body)
        mistakes += [(written, read)] * (read < written)
    return mistakes


def read_until(stop: threading.Event, client: WsgiClient, reader: int) -> None:
    turn = 0
    while not stop.is_set():
        turn += 1
        mine = WsgiClient(client.app, f"203.{reader}.{turn >> 8 & 255}.{turn & 255}")
        mine.get(f"/api/posts/{turn % 2 + 1}")


def test_no_writer_ever_reads_back_an_older_page(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = service = Counting()
    stop = threading.Event()
    readers = [threading.Thread(target=read_until, args=(stop, client, number)) for number in range(3)]
    for thread in readers:
        thread.start()
    with ThreadPoolExecutor(4) as writers:
        mistakes = [found for each in writers.map(partial(write_and_read_back, client), range(4)) for found in each]
    stop.set()
    for thread in readers:
        thread.join(5)
    assert mistakes == []
    assert service.numbers == {"1": 60, "2": 60}


def fact(kind: str, subject: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "subject": subject, "id": "0-1", "data": data}


@pytest.mark.parametrize(
    "event, tags",
    [
        (fact("post.published", "p", authorId="a"), {"posts", "post-p"}),
        (fact("post.updated", "p", authorId="a"), {"posts", "post-p"}),
        (fact("post.deleted", "p", authorId="a"), {"posts", "post-p"}),
        (fact("comment.created", "c", postId="p"), {"posts", "post-p"}),
        (fact("author.updated", "a"), {"author-a"}),
        (fact("comment.created", "c"), set()),
        (fact("category.renamed", "c"), set()),
    ],
)
def test_a_fact_names_what_it_changes(event: dict[str, Any], tags: set[str]) -> None:
    assert changed_tags(SERVICES["posts"], event) == tags


def test_the_feed_purges_for_everybody(posts: Upstream, settings: dict[str, str]) -> None:
    events = [fact("author.updated", "a"), fact("something.new", "x") | {"id": "0-2"}]

    def behave(line: Line) -> None:
        while line.read():
            line.send(json_response([events.pop(0)] if events else []))

    posts.behaviour = behave
    store = Store(100_000)
    reader = InvalidationConsumer("posts", Config.load(settings | {"INTERNAL_TOKEN": TOKEN}), store)
    store.put(entry("/a", "author-a", "@posts"), 0)
    store.put(entry("/b", "author-b", "@posts"), 0)
    reader.read_batch()
    assert (store.find("/a", {}) is None, store.find("/b", {}) is None) == (True, False)
    reader.read_batch()
    assert store.find("/b", {}) is None
    assert posts.received[0].header("authorization") == f"Bearer {TOKEN}"
    assert posts.received[1].target == "/internal/feed?lastEventId=0-1"


def test_a_feed_that_has_forgotten_what_changed_purges_all(posts: Upstream, settings: dict[str, str]) -> None:
    answers = [json_response({"oldest": "0-9"}, "410 Gone"), json_response([])]

    def behave(line: Line) -> None:
        while line.read():
            line.send(answers.pop(0))

    posts.behaviour = behave
    store = Store(100_000)
    reader = InvalidationConsumer("posts", Config.load(settings | {"INTERNAL_TOKEN": TOKEN}), store)
    reader.last_event_id = "0-1"
    store.put(entry("/a", "author-a", "@posts"), 0)
    assert reader.read_batch() > 0
    assert store.find("/a", {}) is None
    assert reader.read_batch() == 0
    assert ["since=" in request.target for request in posts.received] == [False, True]
