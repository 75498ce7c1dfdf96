"""Whose an answer is: what one may see never reaches another from the cache."""

import time

import pytest

from tests.gateway.cache.answers import SHARED, URL, at_once, numbered, seen
from tests.gateway.conftest import StartGateway, as_user, make_token
from tests.gateway.upstreams import Line, Upstream, echo, response
from tests.gateway.wsgi_client import WsgiClient


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


def test_a_cookie_that_proves_nobody_is_a_strangers(client: WsgiClient, posts: Upstream) -> None:
    dead = {"Cookie": "authToken=of-another-application"}
    assert [seen(client.get(URL, dead)) for _ in range(2)] == [(b"1", "MISS"), (b"1", "HIT")]
    assert client.get(URL, dead).header("Cache-Control") == "private, no-store"
    assert posts.received[0].header("cookie") is None
    assert seen(client.get(URL, dead | as_user())) == (b"2", "BYPASS")


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
        "Content-Type": "text/plain",
        "Referer": "https://app.example.org/me",
        "User-Agent": "mine",
        "X-Requested-With": "me",
        "traceparent": "00-1-1-01",
    }
    assert seen(client.get(URL, own | {"Accept": "a/b"})) == (b"1", "MISS")
    for name in own:
        assert posts.received[0].header(name) is None
    assert posts.received[0].header("accept") == "a/b"


def test_behind_a_proxy_the_first_clients_scheme_is_nobody_elses(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = echo
    proxied = WsgiClient(client.app, "10.0.0.1")
    said = [proxied.get(f"{URL}?{scheme}", {"X-Forwarded-Proto": scheme}).json for scheme in ("http", "https")]
    assert [dict(told["headers"])["x-forwarded-proto"] for told in said] == ["http", "http"]
    told = proxied.get(URL, {"X-Forwarded-Proto": "https"} | as_user()).json
    assert dict(told["headers"])["x-forwarded-proto"] == "https"


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


def test_an_empty_header_is_another_variant_than_none(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = numbered(SHARED, "Vary: Accept")
    variants: list[dict[str, str]] = [{}, {"Accept": ""}, {}, {"Accept": ""}]
    assert [client.get(URL, headers).body for headers in variants] == [b"1", b"2", b"1", b"2"]


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
