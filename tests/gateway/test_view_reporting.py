"""Views of cached posts reach the posts service."""

import logging
import secrets
import threading
from typing import Any, cast

import orjson
import pytest
from flask import Flask

from services.gateway.cache import view_reporting as views_module
from services.gateway.cache.middleware import response_cache
from services.gateway.cache.store import Store
from services.gateway.cache.view_reporting import ViewReporter
from services.gateway.config import Config
from services.gateway.request_context import KEY, RequestContext
from services.gateway.routes import RouteTable
from shared.service import service_of
from tests.gateway.conftest import StartGateway, as_user
from tests.gateway.upstreams import Line, Upstream, response
from tests.gateway.wsgi_client import WsgiClient
from tests.waiting import wait_until

MARKS = ("Cache-Control: public, s-maxage=60", "View-Of: the-post", 'ETag: "one"')
URL = "/api/posts/x"


class Posts:
    """A service that gives out a post, and takes views with this status."""

    def __init__(self) -> None:
        self.views: list[tuple[str, str]] = []
        self.sizes: list[int] = []
        self.status = "204 No Content"
        self.marks = MARKS
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, line: Line) -> None:
        while request := line.read():
            if request.method == "GET" and request.target != URL:
                line.send(response(b"[]"))
            elif request.method == "GET":
                line.send(response(b"it", "200 OK", *self.marks))
            else:
                assert (request.target, request.header("content-type")) == ("/internal/views", "application/json")
                self._take(orjson.loads(request.body))
                line.send(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())

    def _take(self, views: list[dict[str, Any]]) -> None:
        self.go_on.wait(5)
        if self.status[0] == "2":
            self.sizes.append(len(views))
            self.views += sorted((view["post"], view["viewer"]) for view in views)


@pytest.fixture
def service(posts: Upstream) -> Posts:
    posts.behaviour = service = Posts()
    return service


@pytest.fixture
def views(settings: dict[str, str]) -> ViewReporter:
    return ViewReporter(Config.load(settings | {"INTERNAL_TOKEN": secrets.token_hex(32)}))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "PAUSE", 0.02)


@pytest.fixture
def running(quick: None, service: Posts, start_gateway: StartGateway) -> WsgiClient:
    """A gateway with what runs beside its requests."""
    client = start_gateway()
    service_of(cast(Flask, client.app)).get(ViewReporter).start()
    return client


def test_reads_by_strangers_are_told_and_the_service_counts_none_of_them(
    running: WsgiClient, service: Posts, posts: Upstream
) -> None:
    viewers = [WsgiClient(running.app, f"192.0.2.{number}") for number in range(1, 5)]
    assert viewers[0].get(URL).header("X-Cache") == "MISS"
    assert viewers[1].get(URL).header("X-Cache") == "HIT"
    assert viewers[2].get(URL, {"Range": "bytes=0-1"}).header("X-Cache") == "BYPASS"
    assert viewers[3].get(URL, as_user()).header("X-Cache") == "BYPASS"
    wait_until(lambda: len(service.views) >= 2)
    assert sorted(service.views) == [("the-post", "192.0.2.1"), ("the-post", "192.0.2.2")]
    asked = [request.header("sec-purpose") for request in posts.received if request.target == URL]
    assert asked == ["prefetch", None, None]


@pytest.mark.parametrize("mark", ["public, s-maxage=60", "no-store"])
@pytest.mark.parametrize(
    "method, headers",
    [
        ("HEAD", {}),
        ("GET", {"If-None-Match": '"one"'}),
        ("HEAD", {"If-None-Match": '"one"'}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X-Moz": "prefetch"}),
        ("GET", {"X-Purpose": "preview"}),
    ],
)
def test_what_nobody_looks_at_is_no_view(
    running: WsgiClient, service: Posts, method: str, headers: dict[str, str], mark: str
) -> None:
    service.marks = (f"Cache-Control: {mark}", *MARKS[1:])
    for _ in range(2):
        assert running.request(method, URL, headers).status in (200, 304)
    WsgiClient(running.app, "192.0.2.9").get(URL)
    wait_until(lambda: service.views)
    assert service.views == [("the-post", "192.0.2.9")]


def test_a_renewal_in_the_background_is_no_view() -> None:
    shared = ("Cache-Control", "public, s-maxage=1, stale-while-revalidate=600")

    def service(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [shared, ("View-Of", "the-post")])
        return [b"it"]

    node = RouteTable().find(URL)
    assert node
    store, told, now = Store(100_000), list[tuple[str, str]](), [1000.0]
    app = response_cache(service, store, lambda *view: told.append(view), clock=lambda: now[0])

    def read() -> None:
        environ = {"REQUEST_METHOD": "GET", KEY: RequestContext("192.0.2.1", False, [], URL, route=node.routes["GET"])}
        assert b"".join(app(environ, lambda *_: None)) == b"it"

    read()
    now[0] += 2
    read()
    wait_until(lambda: [entry.born for entry in store._lru.values()] == [1002.0])
    assert told == [("the-post", "192.0.2.1")] * 2


def test_the_viewer_is_named_as_the_service_hears_of_one(running: WsgiClient, service: Posts, posts: Upstream) -> None:
    viewer = WsgiClient(running.app, "10.0.0.1")
    told = {"X-Forwarded-For": "203.0.113.9, 2001:db8:0:0::1"}
    for _ in range(2):
        viewer.get(URL, told)
    wait_until(lambda: service.views)
    asked = next(request for request in posts.received if request.target == URL)
    assert service.views == [("the-post", asked.header("x-forwarded-for"))]


def test_clients_are_not_told_the_mark(client: WsgiClient, service: Posts) -> None:
    for headers in ({}, {}, as_user()):
        assert client.get(URL, headers).header("View-Of") is None


def test_a_read_never_waits_for_views(running: WsgiClient, service: Posts) -> None:
    service.go_on.clear()
    running.get(URL)
    for _ in range(50):
        assert running.get(URL).header("X-Cache") == "HIT"
    assert service.views == []
    service.go_on.set()
    wait_until(lambda: service.views)


def test_views_wait_while_the_service_fails(
    views: ViewReporter, service: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    service.status = "503 Busy"
    views.note("one", "a")
    for _ in range(5):
        views._works()
    views.note("one", "a")
    views.note("two", "a")
    service.status = "204 No Content"
    views._works()
    views._works()
    assert service.views == [("one", "a"), ("two", "a")]
    assert [record.levelno for record in caplog.records if record.name == "postern.background"] == [logging.WARNING]


def test_many_views_go_in_batches_and_take_no_endless_memory(
    views: ViewReporter, service: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "BATCH", 10)
    monkeypatch.setattr(views_module, "MAX_QUEUED", 25)
    for number in range(100):
        views.note("one", str(number))
    views.send()
    assert sorted(service.sizes) == [5, 10, 10]


def test_a_failed_batch_does_not_push_out_newer_views(
    views: ViewReporter, service: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "MAX_QUEUED", 3)
    service.status = "503 Busy"
    for number in range(3):
        views.note("one", str(number))
    for _ in range(3):
        views._works()
    views.note("one", "more")
    assert len(views._queue) == 3


def test_what_is_left_is_handed_over_at_the_end(quick: None, views: ViewReporter, service: Posts) -> None:
    views.start()
    service.go_on.clear()
    views.note("one", "a")
    wait_until(lambda: not views._queue)
    views.note("two", "a")
    service.go_on.set()
    views.stop()
    assert service.views == [("one", "a"), ("two", "a")]
