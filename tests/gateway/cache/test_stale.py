"""What is old, and when it is better than nothing."""

import pytest

from tests.gateway.cache.answers import SHARED, URL, Clock, numbered, seen
from tests.gateway.upstreams import Behaviour, Line, Upstream, response
from tests.gateway.wsgi_client import WsgiClient
from tests.waiting import wait_until


def dead(line: Line) -> None:
    line.read()


def failing(line: Line) -> None:
    while line.read():
        line.send(response(b"oh", "500 Internal Server Error"))


@pytest.mark.parametrize("behaviour", [dead, failing])
def test_a_stale_answer_is_better_than_an_error_for_ten_minutes(
    client: WsgiClient, posts: Upstream, clock: Clock, behaviour: Behaviour
) -> None:
    client.get(URL)
    posts.hang_up()
    posts.behaviour = behaviour
    clock.passed = 61
    answer = client.get(URL)
    assert (answer.status, seen(answer), answer.header("Age")) == (200, (b"1", "STALE"), "61")
    assert client.request("HEAD", URL).header("X-Cache") == "STALE"
    clock.passed = 659
    assert seen(client.get(URL)) == (b"1", "STALE")
    clock.passed = 660
    assert client.get(URL).status in (500, 502)


def test_while_it_fails_the_service_is_asked_every_few_seconds(
    client: WsgiClient, posts: Upstream, clock: Clock
) -> None:
    client.get(URL)
    posts.hang_up()
    posts.behaviour = failing
    clock.passed = 61
    for _ in range(5):
        assert seen(client.get(URL)) == (b"1", "STALE")
    assert len(posts.received) == 2
    posts.behaviour = numbered(SHARED)
    posts.hang_up()
    clock.passed = 66
    assert seen(client.get(URL)) == (b"3", "MISS")


def test_an_open_breaker_lets_stale_answers_out(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    client.get(URL)
    posts.hang_up()
    posts.behaviour = dead
    for _ in range(5):
        client.get(URL + "?other")
    assert client.get(URL + "?other").status == 503
    clock.passed = 61
    assert seen(client.get(URL)) == (b"1", "STALE")


def test_what_must_be_renewed_is_not_used_stale(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    posts.behaviour = numbered(SHARED + ", must-revalidate")
    client.get(URL)
    posts.hang_up()
    posts.behaviour = dead
    clock.passed = 61
    assert client.get(URL).code == "BAD_GATEWAY"


def test_what_is_gone_is_not_used_stale(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    client.get(URL)
    posts.hang_up()
    posts.behaviour = numbered(status="404 Not Found")
    clock.passed = 61
    assert client.get(URL).status == 404
    posts.hang_up()
    posts.behaviour = dead
    assert client.get(URL).status == 502


def test_it_is_renewed_in_the_background_while_a_stale_one_goes_out(
    client: WsgiClient, posts: Upstream, clock: Clock
) -> None:
    posts.behaviour = numbered(SHARED + ", stale-while-revalidate=30")
    client.get(URL)
    clock.passed = 61
    assert seen(client.get(URL)) == (b"1", "STALE")
    wait_until(lambda: client.get(URL).body == b"2")
    assert len(posts.received) == 2
    clock.passed = 61 + 90
    assert seen(client.get(URL)) == (b"3", "MISS")
