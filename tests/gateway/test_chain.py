"""What a request meets on its way through the whole gateway, with real services behind it."""

import pytest

from services.gateway.http.request_target import split_target
from shared.ids import new_id
from shared.problems import Problem
from tests.gateway.upstreams import Upstream, response
from tests.gateway.wsgi_client import WsgiClient

JSON = {"Content-Type": "application/json"}


def test_a_stranger_reads_what_is_public(client: WsgiClient, posts: Upstream) -> None:
    response = client.get("/api/posts?tag=a&tag=b")
    assert (response.status, response.json["target"]) == (200, "/api/posts?tag=a&tag=b")
    assert response.header("Content-Type") == "application/json"
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert response.header("Referrer-Policy") == "no-referrer"
    assert response.header("Vary") == "Origin"
    assert response.header("Cache-Control") is None


def test_a_service_learns_who_asked_from_the_gateway_alone(client: WsgiClient, uploads: Upstream) -> None:
    forged = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "1.2.3.4",
        "X-User-Id": "1",
    }
    client.get("/api/files/u/a.png", forged | {"X-Request-ID": "mine.1", "traceparent": "00-a-b-01"})
    received = uploads.received[0]
    assert received.header("X-Forwarded-For") == "192.0.2.1"
    assert received.header("X-Forwarded-Host") == "gateway.test"
    assert received.header("X-Forwarded-Proto") == "http"
    assert received.header("X-Request-ID") == "mine.1"
    assert received.header("traceparent") == "00-a-b-01"
    assert received.header("X-User-Id") is None
    assert received.header("X-Real-IP") is None


def test_a_bad_request_id_is_replaced_and_the_answer_has_the_same_as_the_service(
    client: WsgiClient, posts: Upstream
) -> None:
    response = client.get("/api/posts", {"X-Request-ID": "no spaces"})
    assert response.header("X-Request-ID") == posts.received[0].header("X-Request-ID") != "no spaces"


def test_each_service_gets_its_own_paths(
    client: WsgiClient, auth: Upstream, posts: Upstream, uploads: Upstream
) -> None:
    user = new_id()
    assert client.get(f"/api/users/{user}").json["target"] == f"/api/users/{user}"
    assert client.get(f"/api/users/{user}/posts").json["target"] == f"/api/users/{user}/posts"
    assert client.get("/api/files/u/a%20b.png").json["target"] == "/api/files/u/a%20b.png"
    assert [len(service.received) for service in (auth, posts, uploads)] == [1, 1, 1]


@pytest.mark.parametrize(
    "method, target, status, code",
    [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/healthz", 404, "NOT_FOUND"),
        ("GET", "/readyz", 404, "NOT_FOUND"),
        ("GET", "/metrics", 404, "NOT_FOUND"),
        ("GET", "/internal/feed", 404, "NOT_FOUND"),
        ("GET", "/api/internal/feed", 404, "NOT_FOUND"),
        ("GET", "/api/auth/login", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/api/posts", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/api/posts", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/posts/%2e%2e/admin/users", 400, "BAD_REQUEST"),
        ("POST", "/api/posts", 401, "UNAUTHORIZED"),
        ("GET", "/api/admin/users", 401, "UNAUTHORIZED"),
    ],
)
def test_a_refusal_has_the_one_shape_and_the_headers_of_every_answer(
    client: WsgiClient, auth: Upstream, posts: Upstream, method: str, target: str, status: int, code: str
) -> None:
    response = client.request(method, target, {"Origin": "http://localhost:3000", "X-Request-ID": "r1"})
    assert (response.status, response.json["code"], response.json["status"]) == (status, code, status)
    assert response.json["success"] is False
    assert response.json["requestId"] == response.header("X-Request-ID") == "r1"
    assert response.json["instance"] == target.replace("%2e", ".")
    assert response.header("Content-Type") == "application/problem+json"
    assert response.header("Access-Control-Allow-Origin") == "http://localhost:3000"
    assert response.header("RateLimit") is not None
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert auth.received == posts.received == []


def test_a_method_that_is_not_allowed_says_which_are(client: WsgiClient) -> None:
    response = client.request("DELETE", "/api/posts")
    assert response.header("Allow") == "GET, HEAD, OPTIONS, POST"
    assert response.json["allowedMethods"] == ["GET", "HEAD", "OPTIONS", "POST"]


def test_the_answer_to_options_names_the_methods_of_the_table(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = lambda line: line.send(response(b"", "200 OK", "Allow: BREW")) if line.read() else None
    answer = client.request("OPTIONS", "/api/posts")
    assert (answer.status, answer.header("Allow")) == (200, "GET, HEAD, OPTIONS, POST")


def test_head_and_plain_options_reach_the_service(client: WsgiClient, posts: Upstream) -> None:
    assert client.request("HEAD", "/api/posts", {"Range": "bytes=0-1"}).status == 200  # not from the cache
    assert client.request("OPTIONS", "/api/posts").status == 200
    assert [request.method for request in posts.received] == ["HEAD", "OPTIONS"]


def test_an_unexpected_error_says_nothing_about_the_inside(client: WsgiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(target: str) -> tuple[str, str]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("services.gateway.middleware.split_target", explode)
    response = client.get("/api/posts")
    assert (response.status, response.code) == (500, "INTERNAL_ERROR")
    assert b"secret" not in response.body


def test_an_upstream_problem_has_the_one_shape(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = lambda line: None
    assert client.get("/api/posts").code == "BAD_GATEWAY"
    with pytest.raises(Problem):
        split_target("")
