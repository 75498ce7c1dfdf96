"""Who is asking, and what that opens."""

import secrets
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from shared.identity.csrf import Csrf
from shared.ids import new_id
from shared.service import service_of
from tests.gateway.conftest import StartGateway, as_user, make_token
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import WsgiClient

JSON = {"Content-Type": "application/json"}


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
        ({"Authorization": f"Bearer {make_token(age=3600)}"}, "TOKEN_EXPIRED"),
        ({"Authorization": f"Bearer {make_token(key=Ed25519PrivateKey.generate())}"}, "UNAUTHORIZED"),
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


@pytest.mark.parametrize(
    "cookie, code",
    [
        ("authToken=nonsense", "UNAUTHORIZED"),
        (f"authToken={make_token(age=3600)}", "TOKEN_EXPIRED"),
        (f"authToken={make_token(key=Ed25519PrivateKey.generate())}", "UNAUTHORIZED"),
    ],
)
def test_a_cookie_that_proves_nobody_makes_a_stranger(client: WsgiClient, cookie: str, code: str) -> None:
    """It came from another application on localhost, or a data folder that was wiped."""
    headers = {"Cookie": cookie}
    assert client.get("/api/posts", headers).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/api/contact", b"name=Ann", headers | form).status == 200
    refused = client.get("/api/auth/me", headers)
    assert (refused.status, refused.code) == (401, code)
    assert refused.header("Set-Cookie") == "authToken=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict"
    beside = client.get("/api/auth/me", headers | {"Authorization": f"Bearer {make_token()}"})
    assert (beside.status, beside.header("Set-Cookie")) == (200, None)


def test_header_and_cookie_may_name_the_same_user(client: WsgiClient) -> None:
    user = new_id()
    headers = {"Authorization": f"Bearer {make_token(user)}", "Cookie": f"authToken={make_token(user)}"}
    assert client.get("/api/auth/me", headers).status == 200


@pytest.mark.parametrize("path", ["login", "register", "refresh", "verify-email", "forgot-password", "reset-password"])
def test_a_stale_token_does_not_bar_the_way_to_a_new_one(client: WsgiClient, path: str) -> None:
    headers = {"Authorization": f"Bearer {make_token(age=3600)}"} | JSON
    assert client.post(f"/api/auth/{path}", b"{}", headers).status == 200


SESSION = "0197a1c2-0000-7000-8000-000000000001"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALLOWED = {"Origin": "https://app.example.org"}


@pytest.fixture
def csrf(client: WsgiClient) -> str:
    """Return the CSRF token of the session."""
    token: str = service_of(cast(Flask, client.app)).get(Csrf).token(SESSION)
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
    other = service_of(cast(Flask, client.app)).get(Csrf).token("0197a1c2-0000-7000-8000-000000000002")
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
