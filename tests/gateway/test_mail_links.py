"""The pages that mailed links lead to."""

from urllib.parse import urlencode

import orjson
import pytest

from shared.problems import Problem
from tests.gateway.conftest import StartGateway
from tests.gateway.forwarding import Start
from tests.gateway.upstreams import Line, json_response, response
from tests.gateway.wsgi_client import Response, WsgiClient

TOKEN = "aB3_-" * 8 + "xyz"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGES = pytest.mark.parametrize("page", ["/verify-email", "/reset-password"])


class Auth:
    """Stand in for the auth service: keep what it was asked, and refuse with a problem if so told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object, dict[str, str]]] = []
        self.problem: Problem | None = None

    def __call__(self, line: Line) -> None:
        while request := line.read():
            self.asked.append((request.target, orjson.loads(request.body), dict(request.headers)))
            if self.problem:
                status, headers, body = self.problem.answer("/", "id", "")
                kept = [f"{name}: {value}" for name, value in headers if name != "Content-Length"]
                line.send(response(body, status, *kept))
            else:
                line.send(json_response({"success": True, "data": {}}))


@pytest.fixture
def upstream() -> Auth:
    return Auth()


@pytest.fixture
def client(start_gateway: StartGateway, serve: Start, upstream: Auth) -> WsgiClient:
    return start_gateway(AUTH_URL=serve(upstream).url)


def submit(client: WsgiClient, page: str, **fields: str) -> Response:
    return client.post(page, urlencode(fields).encode(), FORM)


@PAGES
def test_following_a_link_shows_a_form_and_changes_nothing(client: WsgiClient, upstream: Auth, page: str) -> None:
    answer = client.get(f"{page}?token={TOKEN}")
    assert (answer.status, answer.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert f'<form method="post" action="{page}">'.encode() in answer.body
    assert f'name="token" value="{TOKEN}"'.encode() in answer.body
    assert upstream.asked == []


@PAGES
def test_a_page_loads_and_runs_nothing_and_tells_nobody_of_its_address(client: WsgiClient, page: str) -> None:
    for answer in (client.get(f"{page}?token={TOKEN}"), submit(client, page, token=TOKEN, password="a secret")):
        assert str(answer.header("Content-Security-Policy")).startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in str(answer.header("Content-Security-Policy"))
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.header("Cache-Control") == "no-store"
        assert b"<script" not in answer.body
        assert b"style" not in answer.body


@PAGES
@pytest.mark.parametrize("query", ["", "?token=", "?token=%22%3E%3Cscript%3E", f"?token={'x' * 201}", "?token=%E9"])
def test_a_link_that_is_not_complete_is_refused(client: WsgiClient, page: str, query: str) -> None:
    answer = client.get(page + query)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_the_form_verifies_the_address(client: WsgiClient, upstream: Auth) -> None:
    answer = submit(client, "/verify-email", token=TOKEN)
    assert answer.status == 200
    assert b"The address is confirmed." in answer.body
    ((target, body, headers),) = upstream.asked
    assert (target, body) == ("/api/auth/verify-email", {"token": TOKEN})
    assert headers["x-forwarded-for"] == client.address
    assert headers["x-request-id"] == answer.header("X-Request-ID")


def test_the_form_sets_the_password_as_it_was_typed(client: WsgiClient, upstream: Auth) -> None:
    answer = submit(client, "/reset-password", token=TOKEN, password=" a&b=ç 密 ")
    assert b"The password is set." in answer.body
    assert upstream.asked[0][:2] == ("/api/auth/reset-password", {"token": TOKEN, "password": " a&b=ç 密 "})


def test_a_refused_password_can_be_corrected(client: WsgiClient, upstream: Auth) -> None:
    upstream.problem = Problem("VALIDATION_ERROR", errors={"password": ["Too <common>."]})
    answer = submit(client, "/reset-password", token=TOKEN, password="password")
    assert answer.status == 400
    assert b"Too &lt;common&gt;." in answer.body
    assert f'value="{TOKEN}"'.encode() in answer.body
    assert b'value="password"' not in answer.body


@PAGES
def test_a_link_that_has_expired_is_told(client: WsgiClient, upstream: Auth, page: str) -> None:
    upstream.problem = Problem("LINK_EXPIRED")
    answer = submit(client, page, token=TOKEN, password="a long secret")
    assert answer.status == 403
    assert b"Ask for a new link." in answer.body
    assert b"<form" not in answer.body


@PAGES
def test_without_auth_the_page_says_so(start_gateway: StartGateway, page: str) -> None:
    answer = submit(start_gateway(AUTH_URL="http://127.0.0.1:1"), page, token=TOKEN, password="a long secret")
    assert answer.status == 503
    assert b"Try again later." in answer.body


@PAGES
def test_what_is_no_form_is_refused(client: WsgiClient, upstream: Auth, page: str) -> None:
    answer = client.post(page, b"{}", {"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    for body in (b"token=\xff", b"token=%FF", b"&".join([b"a=b"] * 11)):
        answer = client.post(page, body, FORM)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert upstream.asked == []


@PAGES
def test_a_stale_cookie_is_no_obstacle(client: WsgiClient, page: str) -> None:
    headers = FORM | {"Cookie": "authToken=not.a.token"}
    body = urlencode({"token": TOKEN, "password": "a long secret"}).encode()
    assert client.post(page, body, headers).status == 200
