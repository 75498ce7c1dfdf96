"""Plain HTML forms: what comes in, where a browser is led to, and who may send them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.identity.csrf import Csrf
from shared.ids import new_id
from shared.service import service_of
from tests.conftest import MakeToken
from tests.helpers import assert_problem

FORM = "application/x-www-form-urlencoded"
TOY = {"name": "train", "price": "5"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": "http://localhost:3000"}

Post = Callable[..., Any]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client whose cookies are those that a test names."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def post(client: FlaskClient) -> Post:
    """Post a form to the view that takes one."""

    def post(headers: dict[str, str] | None = None, path: str = "/api/odd/plain", **fields: str) -> Any:
        return client.post(path, data=urlencode(TOY | fields), content_type=FORM, headers=headers)

    return post


def test_a_form_says_what_json_says(client: FlaskClient, post: Post) -> None:
    as_json = client.post("/api/odd/plain", json={"name": "train", "price": 5, "painted": True, "tags": ["a"]}).json
    as_form = post(painted="true", tags="a").json
    assert as_json == as_form
    assert as_form["data"] == {"name": "train", "price": 5, "painted": True, "tags": ["a"]}


@pytest.mark.parametrize("value, painted", [("on", True), ("true", True), ("false", False)])
def test_a_ticked_box_is_true(post: Post, value: str, painted: bool) -> None:
    assert post(painted=value).json["data"]["painted"] is painted


@pytest.mark.parametrize("value", ["yes", "1", "ON", "off"])
def test_no_other_word_is_a_boolean(post: Post, value: str) -> None:
    assert_problem(post(painted=value), 400, "VALIDATION_ERROR")


def test_only_a_form_says_on(client: FlaskClient) -> None:
    assert_problem(client.post("/api/odd/plain", json=TOY | {"price": 5, "painted": "on"}), 400, "VALIDATION_ERROR")
    assert_problem(client.get("/api/odd/query?painted=on"), 400, "VALIDATION_ERROR")


def test_an_empty_field_counts_as_absent(post: Post) -> None:
    assert "owner_note" not in post(ownerNote="").json["data"]
    assert assert_problem(post(name=""), 400, "VALIDATION_ERROR")["errors"] == {
        "name": ["Missing data for required field."]
    }


@pytest.mark.parametrize("extra", ["_csrf", "_next", "website"])
def test_what_every_form_may_have_is_known_in_forms_only(client: FlaskClient, post: Post, extra: str) -> None:
    assert post(**{extra: "/x"}).status_code == 200
    refused = client.post("/api/odd/plain", json=TOY | {"price": 5, extra: "/x"})
    assert list(assert_problem(refused, 400, "VALIDATION_ERROR")["errors"]) == [extra]


def test_an_unknown_field_is_named(post: Post) -> None:
    assert list(assert_problem(post(role="admin"), 400, "VALIDATION_ERROR")["errors"]) == ["role"]


@pytest.mark.parametrize(
    "body", [b"name=%ff&price=5", b"name=\xff&price=5", b"name", b"&".join([b"a=1"] * 101)], ids=repr
)
def test_a_broken_form_is_refused(client: FlaskClient, body: bytes) -> None:
    assert_problem(client.post("/api/odd/plain", data=body, content_type=FORM), 400, "BAD_REQUEST")


def test_a_field_is_given_once(client: FlaskClient) -> None:
    answer = client.post("/api/odd/plain", data="name=train&name=plane&price=5", content_type=FORM)
    assert assert_problem(answer, 400, "VALIDATION_ERROR")["errors"] == {"name": ["Must be given once."]}


def test_a_view_that_takes_no_forms_says_so(client: FlaskClient, post: Post) -> None:
    assert assert_problem(post(path="/api/odd/load"), 415, "UNSUPPORTED_MEDIA_TYPE")["allowedTypes"] == [
        "application/json"
    ]
    answer = client.post("/api/odd/plain", data="x", content_type="text/plain")
    assert assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")["allowedTypes"] == ["application/json", FORM]


def test_a_browser_is_led_to_where_the_form_says(post: Post) -> None:
    answer = post(BROWSER, _next="/toys?page=2#last")
    assert (answer.status_code, answer.headers["Location"], answer.data) == (303, "/toys?page=2#last", b"")
    assert "Content-Type" not in answer.headers
    assert post(BROWSER).headers["Location"] == "/"
    assert post(BROWSER, _next="/größe").headers["Location"] == "/gr%C3%B6%C3%9Fe"


@pytest.mark.parametrize(
    "path",
    [
        "", "toys", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/a/\\b",
        "/.//evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/\n/evil.example",
        "\t//evil.example", "/a\r\nSet-Cookie: x=y", "/a\0", "/a\x85", " //evil.example", "/ /evil.example",
        "/" + "a" * 3000,
    ],
)  # fmt: skip
def test_a_browser_is_led_nowhere_else(post: Post, path: str) -> None:
    answer = post(BROWSER, _next=path)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.5"])
def test_a_program_that_sends_a_form_gets_json(post: Post, accept: str | None) -> None:
    headers = {"Accept": accept} if accept else {}
    assert post(headers, _next="/x").json["data"]["name"] == "train"
    assert_problem(post(headers, name="<b>"[:1]), 400, "VALIDATION_ERROR")


def test_json_is_answered_with_json_whatever_is_accepted(client: FlaskClient) -> None:
    assert client.post("/api/odd/plain", json={"name": "train", "price": 5}, headers=BROWSER).status_code == 200


def test_a_browser_is_refused_with_a_page_that_can_do_nothing(post: Post) -> None:
    answer = post(BROWSER, **{"<script>alert(1)</script>": "x"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in answer.headers["Cache-Control"]
    assert "<h1>Some fields are not valid</h1>" in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: Unknown field." in answer.text
    assert "<script" not in answer.text


FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3001"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
]
OURS: list[dict[str, str]] = [
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://gateway.test"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_form_is_refused_also_without_a_session(post: Post, headers: dict[str, str]) -> None:
    assert_problem(post(headers), 403, "CSRF_FAILED")


@pytest.mark.parametrize("headers", [{}, *OURS])
def test_our_forms_and_those_of_no_browser_are_taken_without_a_session(post: Post, headers: dict[str, str]) -> None:
    assert post(headers).status_code == 200


Session = tuple[dict[str, str], str]


@pytest.fixture
def session(app: Flask, make_token: MakeToken) -> Session:
    """Return the cookies of a session, and its CSRF token."""
    session_id = new_id()
    csrf = service_of(app).get(Csrf).token(session_id)
    return {"Cookie": f"authToken={make_token(sid=session_id)}; csrfToken={csrf}"}, csrf


@pytest.mark.parametrize("headers", OURS)
def test_a_form_of_a_session_has_the_origin_and_the_token(
    post: Post, session: Session, headers: dict[str, str]
) -> None:
    cookies, csrf = session
    assert post(cookies | headers, "/api/odd/mine", _csrf=csrf).status_code == 200
    assert_problem(post(cookies | headers, "/api/odd/mine", _csrf="x"), 403, "CSRF_FAILED")
    assert_problem(post(cookies | headers, "/api/odd/mine"), 403, "CSRF_FAILED")


@pytest.mark.parametrize("headers", [{}, *FOREIGN])
def test_the_token_alone_is_not_enough_in_a_form(post: Post, session: Session, headers: dict[str, str]) -> None:
    cookies, csrf = session
    assert_problem(post(cookies | headers, "/api/odd/mine", _csrf=csrf), 403, "CSRF_FAILED")


def test_the_header_is_enough_where_the_form_is_not_foreign(post: Post, session: Session) -> None:
    cookies, csrf = session
    assert post(cookies | {"X-CSRF-Token": csrf}, "/api/odd/mine").status_code == 200
    assert_problem(post(cookies | {"X-CSRF-Token": "x"}, "/api/odd/mine", _csrf=csrf), 403, "CSRF_FAILED")


def test_the_token_of_another_session_is_worth_nothing(app: Flask, post: Post, session: Session) -> None:
    planted = service_of(app).get(Csrf).token(new_id())
    cookies = {"Cookie": session[0]["Cookie"].partition("csrfToken")[0] + f"csrfToken={planted}"}
    assert_problem(post(cookies | OURS[0], "/api/odd/mine", _csrf=planted), 403, "CSRF_FAILED")
    assert_problem(post(cookies | {"X-CSRF-Token": planted}, "/api/odd/mine"), 403, "CSRF_FAILED")


def test_a_field_named_csrf_in_json_or_multipart_proves_nothing(client: FlaskClient, session: Session) -> None:
    cookies, csrf = session
    headers = cookies | OURS[0]
    assert_problem(client.post("/api/odd/mine", json=TOY | {"_csrf": csrf}, headers=headers), 403, "CSRF_FAILED")
    assert_problem(client.post("/api/odd/mine", data=TOY | {"_csrf": csrf, "file": (b"", "")}, headers=headers,
                               content_type="multipart/form-data"), 403, "CSRF_FAILED")  # fmt: skip


def test_a_key_is_bound_to_the_form_that_it_came_with(client: FlaskClient, ann: dict[str, str]) -> None:
    headers = ann | {"Idempotency-Key": "one"}
    first = client.post("/api/odd/once", data="name=train&price=5", content_type=FORM, headers=headers)
    again = client.post("/api/odd/once", data="name=train&price=5", content_type=FORM, headers=headers)
    other = client.post("/api/odd/once", data="name=plane&price=5", content_type=FORM, headers=headers)
    assert (first.status_code, again.data) == (200, first.data)
    assert_problem(other, 422, "IDEMPOTENCY_KEY_REUSED")
