"""What the client, or the cache itself, has already."""

import pytest

from tests.gateway.cache.answers import SHARED, URL, Clock, numbered, seen
from tests.gateway.upstreams import Line, Upstream, response, say
from tests.gateway.wsgi_client import WsgiClient


def test_a_client_that_has_it_is_told_so_from_the_cache(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    posts.behaviour = numbered(SHARED, 'ETag: "one"', "Content-Type: text/plain")
    first = client.get(URL, {"If-None-Match": '"other"'})
    assert (first.status, first.body) == (200, b"1")
    clock.passed = 5
    answer = client.get(URL, {"If-None-Match": 'W/"one"'})
    assert (answer.status, answer.body, answer.header("X-Cache")) == (304, b"", "HIT")
    assert (answer.header("ETag"), answer.header("Age")) == ('"one"', "5")
    assert (answer.header("Content-Length"), answer.header("Content-Type")) == (None, None)
    assert client.request("HEAD", URL, {"If-None-Match": '"one"'}).status == 304
    assert len(posts.received) == 1


@pytest.mark.parametrize("mark", [SHARED, "Cache-Control: no-store"])
def test_the_condition_of_a_client_holds_for_what_had_to_be_fetched(
    client: WsgiClient, posts: Upstream, mark: str
) -> None:
    posts.behaviour = numbered(mark, 'ETag: "one"')
    answer = client.get(URL, {"If-None-Match": '"one"'})
    assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", '"one"')
    assert posts.received[0].header("if-none-match") is None


def test_it_is_renewed_by_its_entity_tag(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    posts.behaviour = numbered(SHARED, 'ETag: "one"')
    client.get(URL)
    clock.passed = 61
    renewed = client.get(URL)
    assert (seen(renewed), renewed.header("Age")) == ((b"1", "MISS"), "0")
    assert renewed.header("Cache-Status") == "Postern; fwd=stale; stored; ttl=60"
    assert [request.header("if-none-match") for request in posts.received] == [None, '"one"']
    clock.passed = 120
    assert seen(client.get(URL)) == (b"1", "HIT")


def test_a_304_that_speaks_of_another_answer_is_none(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    posts.behaviour = numbered(SHARED, 'ETag: "one"')
    client.get(URL)

    def behave(line: Line) -> None:
        while request := line.read():
            if request.header("if-none-match"):
                line.send(f'HTTP/1.1 304 Not Modified\r\n{SHARED}\r\nETag: "two"\r\n\r\n'.encode())
            else:
                line.send(response(b"new", "200 OK", SHARED, 'ETag: "two"'))

    posts.hang_up()
    posts.behaviour = behave
    clock.passed = 61
    answer = client.get(URL)
    assert (seen(answer), answer.header("ETag")) == ((b"new", "MISS"), '"two"')
    assert seen(client.get(URL)) == (b"new", "HIT")


def test_a_304_that_nobody_asked_for_is_none(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = say(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert client.get(URL).code == "BAD_GATEWAY"


def test_a_client_that_knows_its_date_is_told_so(client: WsgiClient, posts: Upstream) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    posts.behaviour = numbered(SHARED, f"Last-Modified: {date}")
    assert [client.get(URL, {"If-Modified-Since": date}).status for _ in range(2)] == [304, 304]
    assert client.get(URL, {"If-Modified-Since": "Wed, 31 Dec 2025 00:00:00 GMT"}).status == 200
    assert client.get(URL, {"If-Modified-Since": date, "If-None-Match": '"x"'}).status == 200
    assert len(posts.received) == 1


def test_without_an_entity_tag_it_is_renewed_by_its_date(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    posts.behaviour = numbered(SHARED, f"Last-Modified: {date}")
    client.get(URL)
    clock.passed = 61
    client.get(URL)
    assert [request.header("if-modified-since") for request in posts.received] == [None, date]


@pytest.mark.parametrize("said", [SHARED, f"CDN-{SHARED}"])
def test_a_304_that_says_nothing_new_leaves_the_terms_as_they_were(
    client: WsgiClient, posts: Upstream, clock: Clock, said: str
) -> None:
    posts.behaviour = numbered(said, 'ETag: "one"', "Cache-Tag: a", "X-Old: 1")
    client.get(URL)

    def behave(line: Line) -> None:
        while line.read():
            line.send(b"HTTP/1.1 304 Not Modified\r\nX-New: 2\r\n\r\n")

    posts.hang_up()
    posts.behaviour = behave
    clock.passed = 61
    answer = client.get(URL)
    assert (seen(answer), answer.header("X-Old"), answer.header("X-New")) == ((b"1", "MISS"), "1", "2")
    assert seen(client.get(URL)) == (b"1", "HIT")
