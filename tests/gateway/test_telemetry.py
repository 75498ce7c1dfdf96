import json
import re

import pytest

from services.gateway.proxy.circuit_breaker import THRESHOLD
from services.gateway.rate_limit.classes import CLASSES
from shared.telemetry.metrics import render
from tests.gateway.conftest import StartGateway, as_user
from tests.gateway.upstreams import Upstream, response
from tests.gateway.wsgi_client import WsgiClient

SHARED = "Cache-Control: public, s-maxage=60"


def told(sample: str) -> float:
    lines = [line for line in render().decode().splitlines() if line.rpartition(" ")[0] == sample]
    return float(lines[0].rpartition(" ")[2]) if lines else 0


def test_a_refusal_of_the_limits_is_counted(start_gateway: StartGateway) -> None:
    sample = 'gateway_rate_limited_total{action="refused",limit="register"}'
    before = told(sample)
    client = start_gateway()
    for _ in range(CLASSES["register"].quota + 2):
        client.post("/api/auth/register", b"{}", {"Content-Type": "application/json"})
    assert told(sample) == before + 2


def test_an_upstream_is_timed_by_how_it_went(client: WsgiClient, posts: Upstream) -> None:
    well = 'gateway_upstream_duration_seconds_count{outcome="2xx",route="/api/posts",upstream="posts"}'
    badly = 'gateway_upstream_duration_seconds_count{outcome="BAD_GATEWAY",route="/api/posts",upstream="posts"}'
    before = told(well), told(badly)
    assert client.get("/api/posts").status == 200
    posts.behaviour = lambda line: line.send(b"garbage\r\n\r\n") if line.read() else None
    posts.hang_up()
    assert client.get("/api/posts").status == 502
    assert (told(well), told(badly)) == (before[0] + 1, before[1] + 1)


def test_what_the_cache_did_is_counted(client: WsgiClient, posts: Upstream) -> None:
    def figures() -> dict[str, float]:
        return {verdict: told(f'gateway_cache_total{{verdict="{verdict}"}}') for verdict in ("HIT", "MISS", "BYPASS")}

    posts.behaviour = lambda line: line.send(response(b"x", "200 OK", SHARED)) if line.read() else None
    before = figures()
    answers = [client.get("/api/tags"), client.get("/api/tags"), client.get("/api/tags", as_user())]
    assert [answer.header("X-Cache") for answer in answers] == ["MISS", "HIT", "BYPASS"]
    client.get("/api/hello")
    assert figures() == {verdict: number + 1 for verdict, number in before.items()}


def test_an_open_breaker_is_told(client: WsgiClient, posts: Upstream) -> None:
    is_open, openings = 'gateway_breaker_open{upstream="posts"}', 'gateway_breaker_openings_total{upstream="posts"}'
    before = told(openings)
    assert told(is_open) == 0
    posts.behaviour = lambda line: None
    for _ in range(THRESHOLD):
        client.get("/api/posts")
    assert (told(is_open), told(openings)) == (1, before + 1)


def test_every_answer_tells_where_its_time_went(client: WsgiClient) -> None:
    own = str(client.get("/api/hello").header("Server-Timing"))
    passed = str(client.get("/api/posts").header("Server-Timing"))
    refused = str(client.get("/api/nothing").header("Server-Timing"))
    assert all(re.fullmatch(r"gateway;dur=\d+\.\d", timing) for timing in (own, refused))
    assert re.fullmatch(r"gateway;dur=\d+\.\d, upstream;dur=\d+\.\d", passed)


def test_an_admin_who_asks_is_told_what_was_decided(client: WsgiClient) -> None:
    admin = as_user("admin", "0190a0a0-0000-7000-8000-000000000001") | {"X-Explain": "1"}
    told = json.loads(str(client.get("/api/posts/caf%c3%a9?x=1", admin).header("X-Explain")))
    assert told | {"upstreamMs": 0, "requestId": ""} == {
        "client": "192.0.2.1",
        "user": "0190a0a0-0000-7000-8000-000000000001",
        "path": "/api/posts/caf%C3%A9",
        "route": "/api/posts/{id}",
        "who": "all",
        "upstream": "posts",
        "limit": "general",
        "countedBy": "0190a0a0-0000-7000-8000-000000000001",
        "refusal": None,
        "cache": "BYPASS",
        "cacheKey": "/api/posts/caf%C3%A9?x=1",
        "upstreamMs": 0,
        "requestId": "",
    }
    assert json.loads(str(client.get("/api/files/u/x/y", admin).header("X-Explain")))["route"].isprintable()
    assert json.loads(str(client.get("/api/nothing", admin).header("X-Explain")))["refusal"] == "NOT_FOUND"


@pytest.mark.parametrize("headers", [{}, as_user(), as_user("moderator"), {"Authorization": "Bearer nonsense"}])
def test_nobody_else_is(client: WsgiClient, headers: dict[str, str]) -> None:
    assert client.get("/api/posts", headers | {"X-Explain": "1"}).header("X-Explain") is None
    assert client.get("/api/posts", as_user("admin")).header("X-Explain") is None
