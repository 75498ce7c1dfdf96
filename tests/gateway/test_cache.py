"""The cache in the whole gateway, before real services."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.gateway import cache as cache_module
from services.gateway.freshness import OURS
from services.gateway.store import MAX_OBJECT
from tests.gateway.conftest import StartGateway, as_user, make_token
from tests.gateway.upstreams import Behaviour, Line, Upstream, response, say
from tests.gateway.wsgi_client import Response, WsgiClient

SHARED = "Cache-Control: public, s-maxage=60"
URL = "/api/posts"


class Clock:
    """The cache's clock, which a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return 1000 + self.passed


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cache_module.reuse_answers, "__defaults__", (OURS, clock))
    return clock


def numbered(*headers: str, status: str = "200 OK") -> Behaviour:
    """Answer the nth request with n, and one that has seen it already with 304."""
    etag = next((header[6:] for header in headers if header.startswith("ETag: ")), None)

    def behave(line: Line) -> None:
        while request := line.read():
            body = str(len(line.upstream.received)).encode()
            if etag and request.header("if-none-match") == etag:
                line.send("\r\n".join(("HTTP/1.1 304 Not Modified", *headers)).encode() + b"\r\n\r\n")
            elif request.method == "HEAD":
                line.send(response(body, status, *headers).removesuffix(body))
            else:
                line.send(response(body, status, *headers))

    return behave


@pytest.fixture
def posts(posts: Upstream) -> Upstream:
    posts.behaviour = numbered(SHARED)
    return posts


def seen(answer: Response) -> tuple[bytes, str | None]:
    return answer.body, answer.header("X-Cache")


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(results) == count
    return results


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


# What is kept


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


def test_head_is_answered_from_a_get_and_keeps_nothing_itself(client: WsgiClient, posts: Upstream) -> None:
    assert seen(client.request("HEAD", URL)) == (b"", "MISS")
    assert seen(client.get(URL)) == (b"2", "MISS")
    head = client.request("HEAD", URL)
    assert (seen(head), head.header("Content-Length")) == ((b"", "HIT"), "1")
    assert [request.method for request in posts.received] == ["HEAD", "GET"]


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


# Whose it is


@pytest.mark.parametrize(
    "credentials",
    [as_user(), {"Cookie": f"authToken={make_token()}"}, {"Cookie": f"a=b; authToken={make_token()}"}],
)
def test_an_answer_to_credentials_is_neither_kept_nor_taken_from_the_cache(
    client: WsgiClient, posts: Upstream, credentials: dict[str, str]
) -> None:
    assert seen(client.get(URL, credentials)) == (b"1", "BYPASS")
    assert seen(client.get(URL)) == (b"2", "MISS")
    mine = client.get(URL, credentials)
    assert (seen(mine), mine.header("Cache-Control")) == ((b"3", "BYPASS"), "private, no-store")
    assert seen(client.get(URL)) == (b"2", "HIT")


def test_nobody_gets_the_answer_to_somebody_else_however_many_ask_at_once(client: WsgiClient, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        while request := line.read():
            time.sleep(0.005)
            line.send(response((request.header("authorization") or "nobody").encode(), "200 OK", SHARED))

    posts.behaviour = behave
    users = [as_user() for _ in range(6)]

    def ask(number: int) -> tuple[bytes, bytes]:
        headers = users[number // 2] if number % 2 else {}
        return client.get(URL, headers).body, headers.get("Authorization", "nobody").encode()

    numbers = iter(range(12))
    for _ in range(5):
        numbers = iter(range(12))
        for got, expected in at_once(12, lambda: ask(next(numbers))):  # noqa: B023
            assert got == expected


def test_the_service_sees_nothing_of_the_one_client_who_came_first(client: WsgiClient, posts: Upstream) -> None:
    own = {
        "Cookie": "theme=dark",
        "Origin": "https://app.example.org",
        "X-Forwarded-Host": "evil.example",
        "If-None-Match": '"x"',
        "If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT",
    }
    assert seen(client.get(URL, own)) == (b"1", "MISS")
    for name in ("cookie", "origin", "x-forwarded-host", "if-none-match", "if-modified-since"):
        assert posts.received[0].header(name) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1"},
        {"If-Range": '"a"'},
        {"If-Match": '"a"'},
        {"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"Connection": "close, accept-language"},
    ],
)
def test_unusual_reads_pass_the_cache_by(client: WsgiClient, posts: Upstream, headers: dict[str, str]) -> None:
    client.get(URL)
    assert seen(client.get(URL, headers)) == (b"2", "BYPASS")
    assert seen(client.get(URL)) == (b"1", "HIT")


def test_a_read_with_a_body_passes_the_cache_by(client: WsgiClient, posts: Upstream) -> None:
    assert seen(client.request("GET", URL, body=b"x")) == (b"1", "BYPASS")
    assert seen(client.get(URL)) == (b"2", "MISS")


def test_variants_are_told_apart(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = numbered(SHARED, "Vary: Accept-Language")
    german, english = {"Accept-Language": "de"}, {"Accept-Language": "en"}
    assert [client.get(URL, headers).body for headers in (german, english, german, english, {})] == [
        b"1", b"2", b"1", b"2", b"3",
    ]  # fmt: skip
    assert posts.received[0].header("accept-language") == "de"
    assert client.get(URL, german).header("Vary") == "Accept-Language, Origin"


def test_other_services_answers_are_not_kept(client: WsgiClient, uploads: Upstream) -> None:
    uploads.behaviour = numbered(SHARED)
    answers = [client.get("/api/files/u/a.png") for _ in range(2)]
    assert [seen(answer) for answer in answers] == [(b"1", None), (b"2", None)]


@pytest.mark.parametrize("changed", [{"CACHE_MIB": "0"}, {"REDIS_URL": "redis://127.0.0.1:1/0"}])
def test_without_a_store_nothing_is_kept_and_marks_stay_inside(
    start_gateway: StartGateway, posts: Upstream, changed: dict[str, str]
) -> None:
    posts.behaviour = numbered(SHARED, "Cache-Tag: a")
    client = start_gateway(**changed)
    assert [seen(client.get(URL)) for _ in range(2)] == [(b"1", "BYPASS"), (b"2", "BYPASS")]
    answer = client.post(URL, b"{}", as_user())
    assert (answer.header("Cache-Tag"), client.get(URL).header("Cache-Control")) == (None, "public, no-cache")


# What the client has already


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


def test_without_an_entity_tag_it_is_renewed_by_its_date(client: WsgiClient, posts: Upstream, clock: Clock) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    posts.behaviour = numbered(SHARED, f"Last-Modified: {date}")
    client.get(URL)
    clock.passed = 61
    client.get(URL)
    assert [request.header("if-modified-since") for request in posts.received] == [None, date]


def test_a_304_that_says_nothing_new_leaves_the_terms_as_they_were(
    client: WsgiClient, posts: Upstream, clock: Clock
) -> None:
    posts.behaviour = numbered(SHARED, 'ETag: "one"', "Cache-Tag: a", "X-Old: 1")
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


# What is stale


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
    wait_for(lambda: client.get(URL).body == b"2")
    assert len(posts.received) == 2
    clock.passed = 61 + 90
    assert seen(client.get(URL)) == (b"3", "MISS")


# Many at once


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
            time.sleep(0.1)
            line.send(response(str(line.socket.getpeername()).encode()))

    posts.behaviour = behave
    started = time.monotonic()
    assert len({answer.body for answer in at_once(8, lambda: client.get(URL))}) > 6
    assert time.monotonic() - started < 0.6


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
    wait_for(lambda: posts.received)
    assert seen(client.get(URL)) == (b"it", "MISS")
    release.set()
    first.join(5)
