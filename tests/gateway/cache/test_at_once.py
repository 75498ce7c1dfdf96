"""Many who ask at once."""

import threading
import time

import pytest

from services.gateway import cache as cache_module
from tests.gateway.cache.answers import SHARED, URL, at_once, seen
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


def test_nobody_waits_for_another_for_ever(
    client: WsgiClient, posts: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "WAIT", 0.05)
    release = threading.Event()

    def behave(line: Line) -> None:
        while line.read():
            if len(posts.received) == 1:
                release.wait(5)
            line.send(response(b"it", "200 OK", SHARED))

    posts.behaviour = behave
    first = threading.Thread(target=client.get, args=(URL,))
    first.start()
    wait_until(lambda: posts.received)
    assert seen(client.get(URL)) == (b"it", "MISS")
    release.set()
    first.join(5)
