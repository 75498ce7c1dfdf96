"""What the cache keeps, in the whole gateway, before real services."""

import pytest

from services.gateway.cache.store import MAX_OBJECT
from tests.gateway.cache.answers import SHARED, URL, Clock, numbered, seen
from tests.gateway.upstreams import Line, Upstream, say
from tests.gateway.wsgi_client import WsgiClient


def test_a_public_read_is_asked_for_once(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    first = client.get(URL)
    clock.passed = 7.5
    again = client.get(URL)
    assert (seen(first), seen(again)) == ((b"1", "MISS"), (b"1", "HIT"))
    assert (first.header("Age"), again.header("Age")) == ("0", "7")
    assert first.header("Cache-Status") == "Postern; fwd=uri-miss; stored; ttl=60"
    assert again.header("Cache-Status") == "Postern; hit; ttl=52"
    assert again.header("Content-Length") == "1"


def test_it_is_asked_for_again_when_its_time_is_over(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    client.get(URL)
    clock.passed = 59.9
    assert seen(client.get(URL)) == (b"1", "HIT")
    clock.passed = 60
    assert seen(client.get(URL)) == (b"2", "MISS")
    assert seen(client.get(URL)) == (b"2", "HIT")


def test_the_time_it_was_under_way_before_counts(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    posts.behaviour = numbered(SHARED, "Age: 50")
    assert client.get(URL).header("Age") == "50"
    clock.passed = 9
    assert client.get(URL).header("Age") == "59"
    clock.passed = 10
    assert seen(client.get(URL)) == (b"2", "MISS")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Cache-Control: public, max-age=60",),
        ("Cache-Control: private, s-maxage=60",),
        ("Cache-Control: public, s-maxage=60, no-store",),
        (SHARED, "Set-Cookie: a=b"),
        (SHARED, "Vary: *"),
        (SHARED, "Vary: Cookie"),
        (SHARED, "Vary: Content-Type"),
        (SHARED, "Vary: Accept Cookie"),
    ],
)
def test_what_is_not_marked_for_everybody_is_never_kept(
    client: WsgiClient, posts: Upstream, headers: tuple[str, ...]
) -> None:
    posts.behaviour = numbered(*headers)
    assert [seen(client.get(URL)) for _ in range(2)] == [(b"1", "MISS"), (b"2", "MISS")]


def test_queries_are_told_apart_as_they_were_sent(client: WsgiClient, posts: Upstream) -> None:
    bodies = [client.get(URL + query).body for query in ("", "?a=1&b=2", "?b=2&a=1", "?a=1&b=2", "?a=%31&b=2")]
    assert bodies == [b"1", b"2", b"3", b"2", b"4"]


def test_two_spellings_of_a_path_are_one(client: WsgiClient, posts: Upstream) -> None:
    assert client.get("/api/%70osts").body == client.get(URL).body == b"1"


def test_head_is_answered_from_a_get_which_is_kept(client: WsgiClient, posts: Upstream) -> None:
    assert seen(client.request("HEAD", URL)) == (b"", "MISS")
    assert seen(client.get(URL)) == (b"1", "HIT")
    head = client.request("HEAD", URL)
    assert (seen(head), head.header("Content-Length")) == ((b"", "HIT"), "1")
    assert [request.method for request in posts.received] == ["GET"]


def test_clients_are_not_told_what_is_for_the_cache(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = numbered(SHARED, "Cache-Tag: a, b", "X-Cache: forged")
    for answer in (client.get(URL), client.get(URL), client.get(URL, {"Range": "bytes=0-1"})):
        assert answer.header("Cache-Tag") is None
        assert answer.header("Cache-Control") == "public, no-cache"
        assert answer.header("X-Cache") != "forged"


def test_an_answer_has_the_policies_of_the_one_who_asks(client: WsgiClient, posts: Upstream) -> None:
    one = client.get(URL, {"Origin": "http://localhost:3000"})
    two = client.get(URL, {"Origin": "https://app.example.org"})
    three = client.get(URL)
    origins = [answer.header("Access-Control-Allow-Origin") for answer in (one, two, three)]
    assert origins == ["http://localhost:3000", "https://app.example.org", None]
    assert three.header("Vary") == "Origin"
    assert len({answer.header("X-Request-ID") for answer in (one, two, three)}) == 3
    assert three.header("X-Cache") == "HIT"


def test_hits_count_against_the_limit(client: WsgiClient, posts: Upstream) -> None:
    statuses = [client.get(URL).status for _ in range(101)]
    assert statuses == [200] * 100 + [429]
    assert len(posts.received) == 1


def test_a_body_that_breaks_off_is_never_kept(client: WsgiClient, posts: Upstream) -> None:
    head = f"HTTP/1.1 200 OK\r\n{SHARED}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    posts.behaviour = say(head + b"5\r\nfirst\r\n")
    assert client.get(URL).code == "BAD_GATEWAY"
    posts.hang_up()
    posts.behaviour = numbered(SHARED)
    assert seen(client.get(URL)) == (b"2", "MISS")


def test_a_chunked_answer_is_kept_whole(client: WsgiClient, posts: Upstream) -> None:
    head = f"HTTP/1.1 200 OK\r\n{SHARED}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    posts.behaviour = say(head + b"5\r\nfirst\r\n5\r\n last\r\n0\r\n\r\n")
    assert seen(client.get(URL)) == (b"first last", "MISS")
    assert seen(client.get(URL)) == (b"first last", "HIT")


@pytest.mark.parametrize("framing", ["Content-Length: 600000", "Transfer-Encoding: chunked"])
def test_what_is_too_large_passes_whole_and_is_not_kept(client: WsgiClient, posts: Upstream, framing: str) -> None:
    content = b"x" * 600_000
    assert len(content) > MAX_OBJECT

    def behave(line: Line) -> None:
        while line.read():
            line.send(f"HTTP/1.1 200 OK\r\n{SHARED}\r\n{framing}\r\n\r\n".encode())
            line.send(content if "Length" in framing else b"927c0\r\n" + content + b"\r\n0\r\n\r\n")

    posts.behaviour = behave
    assert [seen(client.get(URL)) for _ in range(2)] == [(content, "MISS")] * 2
