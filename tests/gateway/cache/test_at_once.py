"""Many who ask at once."""

import threading
import time
from dataclasses import replace

import pytest

from services.gateway.cache import fill
from services.gateway.cache import middleware as cache_module
from services.gateway.request_context import RequestContext
from services.gateway.routes import ROUTES, RouteTable
from tests.gateway.cache.answers import SHARED, URL, at_once, seen
from tests.gateway.conftest import StartGateway
from tests.gateway.upstreams import Line, Upstream, response
from tests.gateway.wsgi_client import WsgiClient
from tests.waiting import wait_until


def test_many_who_miss_at_once_cost_the_service_one_request(client: WsgiClient, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        while line.read():
            time.sleep(0.1)
            line.send(response(b"it", "200 OK", SHARED))

    posts.behaviour = behave
    answers = at_once(20, lambda: client.get(URL))
    assert {answer.body for answer in answers} == {b"it"}
    assert len(posts.received) == 1
    assert sorted(str(answer.header("X-Cache")) for answer in answers) == ["HIT"] * 19 + ["MISS"]


def test_what_is_not_for_all_they_ask_each_for_themselves_at_once(client: WsgiClient, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        while line.read():
            time.sleep(0.4)
            line.send(response(str(line.socket.getpeername()).encode()))

    posts.behaviour = behave
    started = time.monotonic()
    assert len({answer.body for answer in at_once(8, lambda: client.get(URL))}) > 6
    assert time.monotonic() - started < 2.4


def test_when_it_fails_all_are_told_by_one_request(client: WsgiClient, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        line.read()
        time.sleep(0.1)
        line.send(b"garbage")

    posts.behaviour = behave
    answers = at_once(10, lambda: client.get(URL))
    assert {answer.code for answer in answers} == {"BAD_GATEWAY"}
    assert len({answer.json["requestId"] for answer in answers}) == 10
    assert len(posts.received) == 1


def test_heads_at_once_cost_the_service_one_request(client: WsgiClient, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        while line.read():
            time.sleep(0.1)
            line.send(response(b"it", "200 OK", SHARED))

    posts.behaviour = behave
    answers = at_once(30, lambda: client.request("HEAD", URL))
    assert {(answer.status, answer.body, answer.header("Content-Length")) for answer in answers} == {(200, b"", "2")}
    assert len(posts.received) == 1


def test_who_waits_for_another_waits_no_longer_than_for_an_answer_of_its_own(
    start_gateway: StartGateway, posts: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(replace(route, first_byte=0.3) for route in ROUTES)
    monkeypatch.setattr(RouteTable.__init__, "__defaults__", (rows,))
    monkeypatch.setattr(cache_module, "CONNECT_TIMEOUT", 0.0)
    client, release = start_gateway(), threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(f"HTTP/1.1 200 OK\r\n{SHARED}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        release.wait(10)

    posts.behaviour = behave
    first = threading.Thread(target=client.get, args=(URL,))
    first.start()
    wait_until(lambda: posts.received)
    assert client.get(URL).code == "GATEWAY_TIMEOUT"
    assert len(posts.received) == 1
    release.set()
    first.join(5)


def test_what_then_is_fetched_alone_has_only_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    context, (route, *_) = RequestContext("192.0.2.1", False, []), ROUTES
    assert context.time_for(route) == route.first_byte
    context.deadline = time.monotonic() + route.first_byte / 2
    assert 0 < context.time_for(route) <= route.first_byte / 2
    context.deadline += 2 * route.first_byte
    assert context.time_for(route) == route.first_byte


def test_what_drips_is_read_by_each_alone(client: WsgiClient, posts: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "BODY_TIMEOUT", 0.05)

    def behave(line: Line) -> None:
        line.read()
        line.send(f"HTTP/1.1 200 OK\r\n{SHARED}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(5):
            line.send(b"1\r\nx\r\n")
            time.sleep(0.03)
        line.send(b"0\r\n\r\n")

    posts.behaviour = behave
    assert [seen(client.get(URL)) for _ in range(2)] == [(b"xxxxx", "MISS")] * 2
