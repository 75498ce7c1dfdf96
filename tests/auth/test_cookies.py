"""Browsers: cookies at login, refresh by cookie, and what a logout leaves."""

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from flask import Flask

from services.auth.models import RefreshToken, Session
from shared.identity.csrf import Csrf
from shared.service import service_of
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import assert_problem

pytestmark = on_sqlite

FORM = "application/x-www-form-urlencoded"
NAMES = {"authToken", "refreshToken", "csrfToken"}
HERE = {"Origin": "http://localhost:3000"}
BROWSER = HERE | {"Accept": "text/html,*/*;q=0.8"}
LOGIN = {"email": "ann@example.org", "password": PASSWORD}


@pytest.fixture
def client(app: Flask) -> Client:
    """A client whose cookies are those that a test names: the jar of Flask's keeps no secure ones."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def remembered(client: Client, register: Register) -> Any:
    """Return the answer to a login that is to be remembered."""
    register()
    return client.post("/api/auth/login", json=LOGIN | {"rememberMe": True})


def cookies(answer: Any) -> dict[str, Morsel[str]]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getlist("Set-Cookie"):
        jar.load(line)
    return dict(jar)


def sent(answer: Any, *names: str) -> dict[str, str]:
    """Return the headers of a page that repeats the CSRF cookie; without names all cookies are sent."""
    jar = cookies(answer)
    line = "; ".join(f"{name}={jar[name].value}" for name in names or jar)
    return {"Cookie": line, "X-CSRF-Token": jar["csrfToken"].value}


def test_a_login_that_is_to_be_remembered_sets_cookies(remembered: Any) -> None:
    jar = cookies(remembered)
    data = remembered.json["data"]
    assert (jar["authToken"].value, jar["refreshToken"].value) == (data["accessToken"], data["refreshToken"])
    attributes = {
        name: (jar[name]["path"], jar[name]["max-age"], jar[name]["httponly"], jar[name]["domain"]) for name in jar
    }
    assert attributes == {
        "authToken": ("/", "900", True, ""),
        "refreshToken": ("/api/auth", "604800", True, ""),
        "csrfToken": ("/", "604800", "", ""),
        "device": ("/api/auth", "2592000", True, ""),
    }
    assert {(cookie["secure"], cookie["samesite"]) for cookie in jar.values()} == {(True, "Strict")}


def test_no_other_answer_sets_cookies(client: Client, register: Register) -> None:
    made = client.post("/api/auth/register", json=account())
    login = client.post("/api/auth/login", json=LOGIN)
    refreshed = client.post("/api/auth/refresh", json={"refreshToken": login.json["data"]["refreshToken"]})
    assert [cookies(answer) for answer in (made, login, refreshed)] == [{}, {}, {}]


def test_the_cookies_are_credentials(client: Client, remembered: Any) -> None:
    headers = sent(remembered)
    assert client.get("/api/auth/me", headers=headers).status_code == 200
    assert client.patch("/api/auth/me", json={"bio": "x"}, headers=headers).status_code == 200
    del headers["X-CSRF-Token"]
    assert_problem(client.patch("/api/auth/me", json={"bio": "y"}, headers=headers), 403, "CSRF_FAILED")


@pytest.mark.parametrize("body", [{}, {"json": {}}], ids=["no body", "an empty object"])
def test_a_refresh_by_cookie_rotates_the_cookies(client: Client, remembered: Any, body: Any) -> None:
    headers = sent(remembered, "refreshToken", "csrfToken")
    answer = client.post("/api/auth/refresh", headers=headers, **body)
    before, after = cookies(remembered), cookies(answer)
    assert after.keys() == NAMES
    assert after["refreshToken"].value == answer.json["data"]["refreshToken"] != before["refreshToken"].value
    assert after["csrfToken"].value == before["csrfToken"].value
    assert client.post("/api/auth/refresh", headers=sent(answer)).status_code == 200


def test_a_refresh_by_body_rotates_the_cookie_that_is_the_same(client: Client, remembered: Any) -> None:
    data = {"refreshToken": remembered.json["data"]["refreshToken"]}
    cookie = {"Cookie": f"refreshToken={data['refreshToken']}"}
    assert cookies(client.post("/api/auth/refresh", json=data, headers=cookie)).keys() == NAMES
    assert cookies(client.post("/api/auth/refresh", json=data, headers={"Cookie": "refreshToken=x"})) == {}


@pytest.mark.parametrize("token", [None, "", "x", "other"])
def test_a_refresh_by_cookie_needs_the_csrf_token_of_its_session(
    client: Client, app: Flask, remembered: Any, token: str | None
) -> None:
    headers = sent(remembered)
    if token is None:
        del headers["X-CSRF-Token"]
    else:
        planted = service_of(app).get(Csrf).token("another session") if token == "other" else token
        headers["X-CSRF-Token"] = planted
        headers["Cookie"] = f"refreshToken={cookies(remembered)['refreshToken'].value}; csrfToken={planted}"
    assert_problem(client.post("/api/auth/refresh", headers=headers), 403, "CSRF_FAILED")
    assert RefreshToken.select().where(RefreshToken.replaced_at.is_null(False)).count() == 0


def test_a_refresh_without_any_token_is_refused(client: Client) -> None:
    assert_problem(client.post("/api/auth/refresh"), 401, "UNAUTHORIZED")
    assert_problem(client.post("/api/auth/refresh", json={}), 401, "UNAUTHORIZED")
    nobodys = {"Cookie": f"refreshToken={'A' * 43}; csrfToken=x", "X-CSRF-Token": "x"}
    assert_problem(client.post("/api/auth/refresh", headers=nobodys), 401, "UNAUTHORIZED")


def test_the_body_of_a_refresh_may_be_missing_but_not_of_another_type(client: Client, remembered: Any) -> None:
    answer = client.post("/api/auth/refresh", data="{}", content_type="text/plain", headers=sent(remembered))
    assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_logout_clears_the_cookies_where_they_were_set(client: Client, remembered: Any) -> None:
    answer = client.post("/api/auth/logout", headers=sent(remembered))
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Clear-Site-Data"] == '"storage"'
    cleared, before = cookies(answer), cookies(remembered)
    assert {name: cookie.value for name, cookie in cleared.items()} == dict.fromkeys(NAMES, "")
    assert {cookie["max-age"] for cookie in cleared.values()} == {"0"}
    for name in NAMES:
        for attribute in ("path", "secure", "httponly", "samesite"):
            assert cleared[name][attribute] == before[name][attribute]
    assert_problem(client.post("/api/auth/refresh", headers=sent(remembered)), 401, "TOKEN_REVOKED")


def test_logout_takes_a_bearer_and_an_empty_object(client: Client, register: Register) -> None:
    assert client.post("/api/auth/logout", json={}, headers=bearer(register())).status_code == 204


def test_a_plain_form_registers_logs_in_and_out(client: Client) -> None:
    made = client.post("/api/auth/register", data=account(_next="/welcome"), headers=BROWSER, content_type=FORM)
    assert (made.status_code, made.headers["Location"], set(cookies(made))) == (303, "/welcome", NAMES | {"device"})
    form = LOGIN | {"rememberMe": "on", "_next": "/home"}
    login = client.post("/api/auth/login", data=form, headers=BROWSER, content_type=FORM)
    assert (login.status_code, login.headers["Location"], login.data) == (303, "/home", b"")
    jar = {"Cookie": sent(login)["Cookie"]}
    assert client.get("/api/auth/me", headers=jar).json["data"]["name"] == "Ann"
    form = {"_csrf": cookies(login)["csrfToken"].value}
    out = client.post("/api/auth/logout", data=form, headers=BROWSER | jar, content_type=FORM)
    assert (out.status_code, out.headers["Location"]) == (303, "/")
    assert cookies(out).keys() == NAMES
    assert out.headers["Clear-Site-Data"]
    assert Session.select().where(Session.revoked_at.is_null(False)).count() == 1


def max_ages(answer: Any) -> dict[str, str]:
    return {name: cookie["max-age"] for name, cookie in cookies(answer).items() if name != "device"}


SESSION_COOKIES = dict.fromkeys(NAMES, "")


def test_a_form_login_without_remember_me_signs_in_until_the_browser_is_closed(
    client: Client, register: Register
) -> None:
    register()
    login = client.post("/api/auth/login", data=LOGIN, headers=BROWSER, content_type=FORM)
    assert (login.status_code, max_ages(login)) == (303, SESSION_COOKIES)
    assert client.get("/api/auth/me", headers=sent(login)).status_code == 200
    refreshed = client.post("/api/auth/refresh", headers=sent(login, "refreshToken", "csrfToken"))
    assert (refreshed.status_code, max_ages(refreshed)) == (200, SESSION_COOKIES)
    program = client.post("/api/auth/login", data=LOGIN, headers=HERE, content_type=FORM)
    assert (program.status_code, cookies(program)) == (200, {})


@pytest.mark.parametrize("remember", [False, True])
def test_with_cookie_only_no_token_is_ever_in_a_body(client: Client, register: Register, remember: bool) -> None:
    register()
    answer = client.post("/api/auth/login", json=LOGIN | {"rememberMe": remember, "cookieOnly": True})
    for _ in range(3):
        jar = cookies(answer)
        assert answer.json["data"].keys() == {"user", "expiresIn"}
        assert jar["authToken"].value not in answer.text
        assert jar["refreshToken"].value not in answer.text
        assert set(max_ages(answer).values()) == ({"900", "604800"} if remember else {""})
        assert client.get("/api/auth/me", headers=sent(answer)).status_code == 200
        answer = client.post("/api/auth/refresh", headers=sent(answer, "refreshToken", "csrfToken"))
    body = {"refreshToken": cookies(answer)["refreshToken"].value}
    assert client.post("/api/auth/refresh", json=body).json["data"].keys() == {"user", "expiresIn"}


def test_a_refused_refresh_clears_the_cookies(client: Client, remembered: Any) -> None:
    headers = sent(remembered, "refreshToken", "csrfToken")
    client.post("/api/auth/logout", headers=sent(remembered))
    refused = client.post("/api/auth/refresh", headers=headers)
    assert_problem(refused, 401, "TOKEN_REVOKED")
    assert {name: cookie["max-age"] for name, cookie in cookies(refused).items()} == dict.fromkeys(NAMES, "0")
    assert cookies(client.post("/api/auth/refresh", headers={"Cookie": "authToken=x"})).keys() == NAMES
    # another site could sign visitors out: the browser sends it no cookie, and takes those of the answer
    assert cookies(client.post("/api/auth/refresh")) == {}
    assert cookies(client.post("/api/auth/refresh", json={"refreshToken": "x"}, headers=headers)) == {}


@pytest.mark.parametrize("changes", [{}, {"rememberMe": True}, {"cookieOnly": True}])
def test_a_login_ends_the_session_that_the_browsers_cookies_named(
    client: Client, remembered: Any, register: Register, changes: dict[str, bool]
) -> None:
    register(email="bob@example.org")
    body = LOGIN | {"email": "bob@example.org"} | changes
    other = client.post("/api/auth/login", json=LOGIN).json["data"]
    headers = {"Cookie": sent(remembered)["Cookie"]}
    assert_problem(
        client.post("/api/auth/login", json=body | {"password": "wrong secret"}, headers=headers),
        401,
        "INVALID_CREDENTIALS",
    )
    assert client.get("/api/auth/me", headers=sent(remembered)).status_code == 200
    login = client.post("/api/auth/login", json=body, headers=headers)
    assert {cookie.value for cookie in cookies(login).values()} == {""} or changes
    assert_problem(client.post("/api/auth/refresh", headers=sent(remembered)), 401, "TOKEN_REVOKED")
    before = bearer(remembered.json["data"])
    assert_problem(client.get("/api/auth/me", headers=before), 401, "TOKEN_REVOKED")
    assert client.get("/api/auth/me", headers=bearer(other)).status_code == 200


@pytest.mark.parametrize("path", ["logout", "logout-all"])
@pytest.mark.parametrize("dead", ["none", "cookie", "bearer"])
def test_a_living_refresh_cookie_is_enough_to_log_out(
    client: Client, frozen_clock: FrozenClock, remembered: Any, path: str, dead: str
) -> None:
    frozen_clock.advance(hours=1)
    headers = sent(remembered, "refreshToken", "csrfToken")
    if dead == "cookie":
        headers = sent(remembered)
    if dead == "bearer":
        headers |= bearer(remembered.json["data"])
    unproved = {name: value for name, value in headers.items() if name != "X-CSRF-Token"}
    assert_problem(client.post(f"/api/auth/{path}", headers=unproved), 403, "CSRF_FAILED")
    answer = client.post(f"/api/auth/{path}", headers=headers)
    assert (answer.status_code, set(cookies(answer))) == (204, NAMES)
    assert_problem(client.post("/api/auth/refresh", headers=sent(remembered)), 401, "TOKEN_REVOKED")
    assert client.post(f"/api/auth/{path}", headers=headers).status_code == 401


def test_a_form_logs_out_by_the_refresh_cookie(client: Client, frozen_clock: FrozenClock, remembered: Any) -> None:
    frozen_clock.advance(hours=1)
    jar = {"Cookie": sent(remembered, "refreshToken", "csrfToken")["Cookie"]}
    form = {"_csrf": cookies(remembered)["csrfToken"].value}
    out = client.post("/api/auth/logout", data=form, headers=BROWSER | jar, content_type=FORM)
    assert (out.status_code, set(cookies(out))) == (303, NAMES)


def test_a_bearer_that_never_was_one_does_not_log_out_by_the_cookie(client: Client, remembered: Any) -> None:
    headers = sent(remembered, "refreshToken", "csrfToken") | {"Authorization": "Bearer nonsense"}
    assert_problem(client.post("/api/auth/logout", headers=headers), 401, "UNAUTHORIZED")
    assert client.post("/api/auth/refresh", headers=sent(remembered)).status_code == 200


def test_a_wrong_password_in_a_form_is_a_page(client: Client, register: Register) -> None:
    register()
    form = LOGIN | {"password": "wrong password"}
    answer = client.post("/api/auth/login", data=form, headers=BROWSER, content_type=FORM)
    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert "Wrong email or password" in answer.text


@pytest.mark.parametrize("path", ["register", "login"])
def test_another_site_cannot_sign_a_visitor_in(client: Client, register: Register, path: str) -> None:
    register()
    form = account(email="eve@example.org") if path == "register" else LOGIN | {"rememberMe": "on"}
    headers = {"Origin": "https://evil.example"}
    answer = client.post(f"/api/auth/{path}", data=form, headers=headers, content_type=FORM)
    assert_problem(answer, 403, "CSRF_FAILED")
    assert Session.select().count() == 1


def test_another_site_cannot_sign_a_visitor_out(client: Client, remembered: Any) -> None:
    form = {"_csrf": cookies(remembered)["csrfToken"].value}
    jar = {"Cookie": sent(remembered)["Cookie"]}
    headers = jar | {"Origin": "https://evil.example"}
    assert_problem(client.post("/api/auth/logout", data=form, headers=headers, content_type=FORM), 403, "CSRF_FAILED")
    assert client.get("/api/auth/me", headers=jar).status_code == 200


def test_header_and_cookie_of_two_users_are_refused(client: Client, remembered: Any, register: Register) -> None:
    other = bearer(register(email="bob@example.org"))
    assert_problem(client.get("/api/auth/me", headers=sent(remembered) | other), 401, "UNAUTHORIZED")
