"""Rate limits as a client meets them."""

import json

import pytest

from tests.gateway.conftest import StartGateway, as_user, make_token
from tests.gateway.test_telemetry import told
from tests.gateway.upstreams import Behaviour, Line, Upstream, json_response
from tests.gateway.wsgi_client import WsgiClient

PREFLIGHT = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}


def remaining(client: WsgiClient, headers: dict[str, str] | None = None, target: str = "/api/posts") -> int:
    return int(client.get(target, headers).header("X-RateLimit-Remaining") or -1)


def test_the_hundred_and_first_request_is_refused(client: WsgiClient, posts: Upstream) -> None:
    assert [client.get("/api/tags").status for _ in range(101)] == [200] * 100 + [429]
    refused = client.get("/api/posts")
    assert (refused.code, refused.json["violated-policies"]) == ("RATE_LIMITED", ["general"])
    assert refused.header("Retry-After") == str(refused.json["retryAfter"]) == refused.header("X-RateLimit-Reset")
    assert refused.header("RateLimit-Policy") == '"general";q=100;w=60'
    assert str(refused.header("RateLimit")).startswith('"general";r=0;t=')
    assert len(posts.received) == 100


def test_users_are_counted_by_themselves_wherever_they_come_from(client: WsgiClient) -> None:
    ann, ben = as_user(), as_user()
    assert [remaining(client, ann), remaining(client, ann), remaining(client, ben), remaining(client)] == [
        99,
        98,
        99,
        99,
    ]
    client.address = "192.0.2.2"
    assert [remaining(client, ann), remaining(client)] == [97, 99]


def test_two_tokens_of_a_user_are_one_user(client: WsgiClient) -> None:
    user = "01890000-0000-7000-8000-000000000001"
    assert [remaining(client, as_user(user_id=user)), remaining(client, as_user(user_id=user))] == [99, 98]


@pytest.mark.parametrize(
    "forged", [{"X-Forwarded-For": "1.2.3.4"}, {"X-Real-IP": "1.2.3.4"}, {"Forwarded": "for=1.2.3.4"}]
)
def test_a_forged_header_does_not_move_the_count(client: WsgiClient, forged: dict[str, str]) -> None:
    assert [remaining(client), remaining(client, forged)] == [99, 98]


def test_behind_a_trusted_proxy_the_client_is_counted(client: WsgiClient) -> None:
    client.address = "10.0.0.1"
    assert remaining(client, {"X-Forwarded-For": "203.0.113.9"}) == 99
    assert remaining(client, {"X-Forwarded-For": "203.0.113.9, 10.0.0.7"}) == 98
    assert remaining(client, {"X-Forwarded-For": "203.0.113.10"}) == 99


def test_a_bad_token_counts_against_the_address(client: WsgiClient) -> None:
    assert client.get("/api/posts", {"Authorization": "Bearer nonsense"}).status == 401
    assert client.get("/api/posts", {"Authorization": f"Bearer {make_token(age=3600)}"}).status == 401
    assert remaining(client) == 97


def test_refusals_are_counted_too(client: WsgiClient) -> None:
    client.get("/nothing")
    client.get("/api/../x")
    client.post("/api/posts", b"", {"Content-Length": "99999999"})
    assert remaining(client) == 96


def test_preflights_and_health_are_not(client: WsgiClient) -> None:
    for _ in range(3):
        assert client.request("OPTIONS", "/api/posts", PREFLIGHT).header("RateLimit") is None
        assert client.get("/api/health").header("RateLimit") is None
    assert remaining(client) == 99


@pytest.mark.parametrize(
    "method, target, quota",
    [
        ("POST", "/api/auth/register", 5),
        ("POST", "/api/auth/forgot-password", 10),
        ("POST", "/api/upload", 20),
        ("GET", "/api/users", 50),
    ],
)
def test_each_class_has_its_own_quota(client: WsgiClient, method: str, target: str, quota: int) -> None:
    admin = as_user("admin")
    assert [client.request(method, target, admin).status for _ in range(quota + 1)] == [200] * quota + [429]
    assert remaining(client, admin) == 99


def test_files_may_be_read_more_often(client: WsgiClient) -> None:
    assert remaining(client, target="/api/files/u/a.png") == 999


def answer_with(statuses: list[str]) -> Behaviour:
    """Answer every request with the status that stands in the list then."""

    def behave(line: Line) -> None:
        while line.read():
            line.send(json_response({}, statuses[0]))

    return behave


@pytest.mark.parametrize("path, quota", [("login", 10), ("refresh", 100), ("logout", 10), ("logout-all", 10)])
def test_failures_count_against_the_address_and_successes_do_not(
    client: WsgiClient, auth: Upstream, path: str, quota: int
) -> None:
    url, statuses = f"/api/auth/{path}", ["200 OK"]
    auth.behaviour = answer_with(statuses)
    succeeded = [client.post(url, b"{}") for _ in range(quota + 4)]
    assert {(answer.status, answer.header("X-RateLimit-Remaining")) for answer in succeeded} == {(200, str(quota))}
    statuses[0] = "401 Unauthorized"
    assert [client.post(url, b"{}").status for _ in range(quota + 1)] == [401] * quota + [429]
    statuses[0] = "200 OK"
    assert client.post(url, b"{}").status == 429
    client.address = "192.0.2.2"
    assert client.post(url, b"{}").status == 200


def test_refusals_of_the_gateway_are_not_given_back(client: WsgiClient) -> None:
    large = {"Content-Length": "99999999"}
    assert [client.post("/api/auth/login", b"", large).status for _ in range(11)] == [413] * 10 + [429]


def test_forms_that_succeed_are_given_back(client: WsgiClient, auth: Upstream) -> None:
    auth.behaviour = answer_with(["303 See Other"])
    assert [client.post("/api/auth/login", b"a=b").status for _ in range(12)] == [303] * 12


def test_tokens_of_several_accounts_do_not_multiply_the_tries_at_a_password(client: WsgiClient, auth: Upstream) -> None:
    auth.behaviour = answer_with(["401 Unauthorized"])
    statuses = [client.request("POST", "/api/auth/login", as_user()).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_a_logout_with_a_token_that_has_ended_is_left_to_auth(client: WsgiClient, auth: Upstream) -> None:
    headers = {"Authorization": f"Bearer {make_token(age=3600)}", "Cookie": "refreshToken=a; csrfToken=b; device=c"}
    assert client.post("/api/auth/logout", b"{}", headers).status == 200
    assert auth.received[-1].header("Cookie") == headers["Cookie"]


def test_limits_can_be_switched_off_outside_production(start_gateway: StartGateway) -> None:
    client = start_gateway(RATELIMIT_ENABLED="false")
    responses = [client.get("/api/hello") for _ in range(120)]
    assert {(response.status, response.header("RateLimit")) for response in responses} == {(200, None)}


def test_an_observed_limit_refuses_nobody_and_tells_who_is_beyond_it(
    start_gateway: StartGateway, posts: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = 'gateway_rate_limited_total{action="observed",limit="general"}'
    before = told(sample)
    client = start_gateway(RATELIMIT_OBSERVE="true")
    answers = [client.get("/api/tags") for _ in range(103)]
    assert {answer.status for answer in answers} == {200}
    assert [answer.header("X-RateLimit-Remaining") for answer in answers[98:]] == ["1", "0", "0", "0", "0"]
    assert len(posts.received) == 103
    assert told(sample) == before + 3
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    beyond = [line for line in logged if line["message"] == "over the limit"]
    assert [(line["limit"], line["countedBy"]) for line in beyond] == [("general", "192.0.2.1")] * 3
    assert {line["requestId"] for line in beyond} == {str(answer.header("X-Request-ID")) for answer in answers[100:]}
