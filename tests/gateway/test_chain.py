"""What a request meets on its way through the whole gateway, with real services behind it."""

import random
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.gateway.routes import RouteTable
from services.gateway.target import split_target
from shared.ids import new_id
from shared.problems import Problem
from tests.gateway.conftest import StartGateway, as_user, make_token
from tests.gateway.upstreams import Upstream
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


def test_head_and_plain_options_reach_the_service(client: WsgiClient, posts: Upstream) -> None:
    assert client.request("HEAD", "/api/posts").status == 200
    assert client.request("OPTIONS", "/api/posts").status == 200
    assert [request.method for request in posts.received] == ["HEAD", "OPTIONS"]


# Who is it


def test_a_token_is_taken_from_the_header_or_the_cookie(client: WsgiClient) -> None:
    token = make_token()
    assert client.get("/api/auth/me", {"Authorization": f"Bearer {token}"}).status == 200
    assert client.get("/api/auth/me", {"Authorization": f"bearer  {token} "}).status == 200
    assert client.get("/api/auth/me", {"Cookie": f"a=b; authToken={token}"}).status == 200


@pytest.mark.parametrize(
    "headers, code",
    [
        ({"Authorization": "Bearer nonsense"}, "UNAUTHORIZED"),
        ({"Authorization": "Bearer "}, "UNAUTHORIZED"),
        ({"Authorization": "Basic dTpw"}, "UNAUTHORIZED"),
        ({"Authorization": f"Bearer {make_token(lifetime=-1)}"}, "TOKEN_EXPIRED"),
        ({"Authorization": f"Bearer {make_token(key=Ed25519PrivateKey.generate())}"}, "UNAUTHORIZED"),
        ({"Cookie": "authToken=nonsense"}, "UNAUTHORIZED"),
        ({"Cookie": f"authToken={make_token()}; authToken={make_token()}"}, "UNAUTHORIZED"),
        ({"Authorization": f"Bearer {make_token()}", "Cookie": f"authToken={make_token()}"}, "UNAUTHORIZED"),
    ],
)
def test_a_bad_token_is_refused_even_where_none_is_needed(
    client: WsgiClient, posts: Upstream, headers: dict[str, str], code: str
) -> None:
    response = client.get("/api/posts", headers)
    assert (response.status, response.code) == (401, code)
    assert response.header("WWW-Authenticate") is not None
    assert posts.received == []


def test_header_and_cookie_may_name_the_same_user(client: WsgiClient) -> None:
    user = new_id()
    headers = {"Authorization": f"Bearer {make_token(user)}", "Cookie": f"authToken={make_token(user)}"}
    assert client.get("/api/auth/me", headers).status == 200


@pytest.mark.parametrize("path", ["login", "register", "refresh", "verify-email", "forgot-password", "reset-password"])
def test_a_stale_token_does_not_bar_the_way_to_a_new_one(client: WsgiClient, path: str) -> None:
    headers = {"Authorization": f"Bearer {make_token(lifetime=-1)}"} | JSON
    assert client.post(f"/api/auth/{path}", b"{}", headers).status == 200


SESSION = "0197a1c2-0000-7000-8000-000000000001"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALLOWED = {"Origin": "https://app.example.org"}


@pytest.fixture
def csrf(client: WsgiClient) -> str:
    """Return the CSRF token of the session."""
    token: str = client.app.extensions["postern.csrf"].token(SESSION)  # type: ignore[attr-defined]
    return token


def with_cookies(csrf_cookie: str) -> dict[str, str]:
    return {"Cookie": f"authToken={make_token(session_id=SESSION)}; csrfToken={csrf_cookie}"}


@pytest.mark.parametrize(
    "header, cookie, status",
    [
        ("{}", "{}", 200),
        (None, "{}", 403),
        ("", "{}", 403),
        ("x", "{}", 403),
        ("{}", "", 403),
        ("{}", "x", 403),
        ("", "", 403),
        ("x", "x", 403),
        ("\xe9", "\xe9", 403),
    ],
)
def test_an_unsafe_method_with_the_cookie_needs_the_csrf_token_of_the_session(
    client: WsgiClient, posts: Upstream, csrf: str, header: str | None, cookie: str, status: int
) -> None:
    headers = with_cookies(cookie.format(csrf)) | JSON
    if header is not None:
        headers["X-CSRF-Token"] = header.format(csrf)
    response = client.post("/api/posts", b"{}", headers)
    assert response.status == status
    assert status == 200 or (response.code == "CSRF_FAILED" and not posts.received)


def test_a_planted_csrf_token_of_another_session_is_refused(client: WsgiClient, posts: Upstream) -> None:
    other = client.app.extensions["postern.csrf"].token("0197a1c2-0000-7000-8000-000000000002")  # type: ignore[attr-defined]
    headers = with_cookies(other) | JSON | {"X-CSRF-Token": other}
    assert client.post("/api/posts", b"{}", headers).code == "CSRF_FAILED"
    assert posts.received == []


@pytest.mark.parametrize(
    "target, origin, status",
    [
        ("/api/posts", ALLOWED, 200),
        ("/api/posts", {"Origin": "http://localhost:8000"}, 200),
        ("/api/posts", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/api/posts", {"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ("/api/posts", {}, 403),
        ("/api/posts", {"Origin": "null"}, 403),
        ("/api/posts", {"Origin": "https://evil.example"}, 403),
        ("/api/posts", {"Origin": "https://app.example.org.evil.example"}, 403),
        ("/api/posts", {"Origin": "null", "Sec-Fetch-Site": "same-site"}, 403),
        ("/api/posts", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/api/posts/x/restore", ALLOWED, 403),
    ],
)
def test_a_form_needs_an_origin_of_ours_and_a_route_that_takes_forms(
    client: WsgiClient, posts: Upstream, csrf: str, target: str, origin: dict[str, str], status: int
) -> None:
    response = client.post(target, b"title=x", with_cookies(csrf) | FORM | origin)
    assert response.status == status
    assert len(posts.received) == (status == 200)
    assert status == 200 or response.code == "CSRF_FAILED"


def test_a_form_with_a_planted_cookie_is_refused_before_the_service_sees_it(
    client: WsgiClient, posts: Upstream
) -> None:
    response = client.post("/api/posts", b"_csrf=x", with_cookies("x") | FORM | ALLOWED)
    assert (response.code, posts.received) == ("CSRF_FAILED", [])


def test_a_browser_that_sent_a_form_gets_its_refusal_as_a_page(client: WsgiClient) -> None:
    response = client.post("/api/posts", b"title=x", FORM | {"Accept": "text/html,*/*;q=0.8"})
    assert (response.status, response.header("Content-Type")) == (401, "text/html; charset=utf-8")
    assert response.header("Content-Security-Policy") == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert b"<h1>You are not signed in</h1>" in response.body
    assert client.post("/api/posts", b"title=x", FORM).code == "UNAUTHORIZED"


def test_a_bearer_token_needs_no_csrf_token(client: WsgiClient) -> None:
    assert client.post("/api/posts", b"{}", as_user() | JSON).status == 200


@pytest.mark.parametrize(
    "method, target, role, status",
    [
        ("POST", "/api/categories", "user", 403),
        ("POST", "/api/categories", "moderator", 200),
        ("POST", "/api/categories", "admin", 200),
        ("GET", "/api/users", "moderator", 403),
        ("GET", "/api/users", "admin", 200),
        ("GET", "/api/admin/audit", "user", 403),
    ],
)
def test_a_role_opens_what_it_should(client: WsgiClient, method: str, target: str, role: str, status: int) -> None:
    assert client.request(method, target, as_user(role)).status == status


def test_an_answer_to_credentials_is_never_shared(client: WsgiClient) -> None:
    assert client.get("/api/posts", as_user()).header("Cache-Control") == "private, no-store"
    assert client.get("/api/posts", {"Authorization": "Bearer x"}).header("Cache-Control") == "private, no-store"
    cookie = {"Cookie": f"authToken={make_token()}"}
    assert client.get("/api/posts", cookie).header("Cache-Control") == "private, no-store"


def test_production_is_https_only(start_gateway: StartGateway) -> None:
    production = start_gateway(APP_ENV="production", INTERNAL_TOKEN=secrets.token_hex(32))
    policy = "max-age=31536000; includeSubDomains"
    assert production.get("/api/posts").header("Strict-Transport-Security") == policy
    assert production.get("/nothing").header("Strict-Transport-Security") == policy
    assert start_gateway().get("/api/posts").header("Strict-Transport-Security") is None


# What is too large


def test_a_body_that_is_announced_too_large_is_refused_at_once(client: WsgiClient, posts: Upstream) -> None:
    response = client.post("/api/posts", b"", as_user() | {"Content-Length": str(1024 * 1024 + 1)})
    assert (response.status, response.code, response.json["maxSize"]) == (413, "PAYLOAD_TOO_LARGE", 1024 * 1024)
    assert client.post("/api/posts", b"", as_user() | {"Content-Length": "9" * 4000}).status == 413
    assert posts.received == []


@pytest.mark.parametrize("target, size", [("/api/posts", 1024 * 1024), ("/api/hello", 1024 * 1024)])
def test_a_chunked_body_is_refused_when_it_has_grown_too_large(client: WsgiClient, target: str, size: int) -> None:
    environ = client.environ("POST", target, as_user() | JSON | {"Transfer-Encoding": "chunked"}, b" " * (size + 1))
    del environ["CONTENT_LENGTH"]
    started: list[str] = []
    body = client.app(environ, lambda status, headers, exc_info=None: started.append(status))
    assert b"PAYLOAD_TOO_LARGE" in b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert started == ["413 Content Too Large"]


def test_an_upload_may_be_larger(client: WsgiClient) -> None:
    response = client.post("/api/upload", b"x" * 2_000_000, as_user())
    assert (response.status, response.json["size"]) == (200, 2_000_000)


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "0x5", "\u0665"])
def test_a_length_that_is_no_number_is_refused(client: WsgiClient, posts: Upstream, length: str) -> None:
    response = client.post("/api/posts", b"hello", as_user() | {"Content-Length": length})
    assert (response.status, response.code) == (400, "BAD_REQUEST")
    assert posts.received == []


def test_two_framings_are_refused(client: WsgiClient, posts: Upstream) -> None:
    response = client.post("/api/posts", b"hello", as_user() | {"Transfer-Encoding": "chunked"})
    assert (response.status, response.code) == (400, "BAD_REQUEST")
    assert posts.received == []


# What was authorised is what is forwarded

PIECES = ["api", "posts", "admin", "users", "files", "u", "internal", "feed", "..", ".", "", "%2e%2e", "%2f", "%252f",
          "%2F..%2F", "a%00", "%e2%80%ae", "posts;x=1", "\\", "%5c", "a%20b", "%70osts", "%61dmin", "..;", "%c0%af",
          "by-id", "%E6%97%A5", "?", "#", "//", "@evil", ":80"]  # fmt: skip


def test_no_spelling_gets_another_path_forwarded_than_the_one_that_was_authorised(
    client: WsgiClient, auth: Upstream, posts: Upstream, uploads: Upstream
) -> None:
    table, dice = RouteTable(), random.Random(7)
    services = {"auth": auth, "posts": posts, "uploads": uploads}
    forwarded = 0
    for number in range(3000):
        client.address = f"198.18.{number >> 8}.{number & 255}"
        target = "/api/" + "/".join(dice.choices(PIECES, k=dice.randint(1, 4)))
        status = client.get(target).status
        seen = [(name, request) for name, service in services.items() for request in service.received]
        for service in services.values():
            service.received.clear()
        if not seen:
            assert status in (400, 401, 404, 405), target
            continue
        ((name, request),) = seen
        node = table.find(split_target(request.target)[0])
        assert node is not None
        assert node.routes["GET"].upstream == name
        assert node.routes["GET"].who == 0
        assert split_target(request.target)[0] == request.target.partition("?")[0]
        forwarded += 1
    assert forwarded > 50


@pytest.mark.parametrize(
    "target", ["http://gateway.test/api/posts", "//gateway.test/api/posts", "*", "gateway.test:80"]
)
def test_only_the_origin_form_is_taken(client: WsgiClient, posts: Upstream, target: str) -> None:
    assert client.request("OPTIONS", target).code == "BAD_REQUEST"
    assert posts.received == []


def test_without_the_raw_target_it_is_rebuilt_from_the_decoded_path(client: WsgiClient, uploads: Upstream) -> None:
    environ = client.environ("GET", "/api/files/u/x", {}, None)
    del environ["RAW_URI"]
    environ |= {"PATH_INFO": "/api/files/u/100% \xe6\x97\xa5.png", "QUERY_STRING": "w=5"}
    body = client.app(environ, lambda status, headers, exc_info=None: None)
    b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert uploads.received[0].target == "/api/files/u/100%25%20%E6%97%A5.png?w=5"


def test_an_own_page_is_the_one_that_was_authorised(client: WsgiClient) -> None:
    environ = client.environ("GET", "/api/hello", {}, None) | {"PATH_INFO": "/readyz", "SCRIPT_NAME": "/api"}
    statuses: list[str] = []
    body = client.app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    assert b"userAgent" in b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert statuses == ["200 OK"]


def test_an_unexpected_error_says_nothing_about_the_inside(client: WsgiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(target: str) -> tuple[str, str]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("services.gateway.layers.split_target", explode)
    response = client.get("/api/posts")
    assert (response.status, response.code) == (500, "INTERNAL_ERROR")
    assert b"secret" not in response.body


def test_an_upstream_problem_has_the_one_shape(client: WsgiClient, posts: Upstream) -> None:
    posts.behaviour = lambda line: None
    assert client.get("/api/posts").code == "BAD_GATEWAY"
    with pytest.raises(Problem):
        split_target("")
