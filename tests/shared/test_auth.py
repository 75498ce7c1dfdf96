"""Who a request comes from, as views see it."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared import clock
from shared.feed.revocation_consumer import RevocationConsumer
from shared.feed.service_client import BATCH
from shared.identity.access_tokens import Verifier
from shared.identity.claims import LEEWAY, LIFETIME
from shared.identity.csrf import Csrf
from shared.identity.revocations import Revocations
from shared.ids import new_id
from shared.service import service_of
from tests.conftest import FrozenClock, MakeToken
from tests.helpers import assert_problem
from tests.shared.conftest import AsUser, Serve
from tests.shared.toys import models
from tests.shared.toys.models import database


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client that sends the header Cookie as it is given."""
    return app.test_client(use_cookies=False)


def who(client: FlaskClient, **headers: str) -> Any:
    return client.get("/api/odd/who", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_stranger_is_nobody(client: FlaskClient) -> None:
    assert who(client).json["data"] is None
    assert who(client, Cookie="other=x; authtoken=y").json["data"] is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_is_known(client: FlaskClient, make_token: MakeToken, scheme: str) -> None:
    user_id = new_id()
    assert who(client, Authorization=f"{scheme} {make_token(user_id)}").json["data"] == user_id


@pytest.mark.parametrize(
    "cookie", ["authToken={}", 'authToken="{}"', "a=b; authToken={}; c=d", "authToken={};authToken={}"]
)
def test_the_cookie_is_known(client: FlaskClient, make_token: MakeToken, cookie: str) -> None:
    user_id = new_id()
    assert who(client, Cookie=cookie.replace("{}", make_token(user_id))).json["data"] == user_id


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer x", "Bearer undefined", "Bearer {}, Bearer {}", "Bearer \xa0{}", "Bearer {}\xa0"],
)
def test_a_bad_bearer_is_refused_and_not_ignored(
    client: FlaskClient, make_token: MakeToken, authorization: str
) -> None:
    response = who(client, Authorization=authorization.replace("{}", make_token()))
    assert_problem(response, 401, "UNAUTHORIZED")


def test_an_expired_token_says_so(client: FlaskClient, as_user: AsUser, frozen_clock: FrozenClock) -> None:
    headers = as_user()
    frozen_clock.advance(seconds=LIFETIME + LEEWAY)
    assert_problem(client.get("/api/odd/who", headers=headers), 401, "TOKEN_EXPIRED")


def test_header_and_cookie_must_name_one_user(client: FlaskClient, make_token: MakeToken) -> None:
    user_id = new_id()
    bearer = f"Bearer {make_token(user_id)}"
    assert who(client, Authorization=bearer, Cookie=f"authToken={make_token(user_id)}").json["data"] == user_id
    assert_problem(who(client, Authorization=bearer, Cookie=f"authToken={make_token()}"), 401, "UNAUTHORIZED")
    assert who(client, Authorization=bearer, Cookie="authToken=x").json["data"] == user_id


def test_two_cookies_of_different_users_are_refused(client: FlaskClient, make_token: MakeToken) -> None:
    assert_problem(who(client, Cookie=f"authToken={make_token()}; authToken={make_token()}"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("authorization", ["x", "Basic dXNlcjpwYXNz", "Token {}", "{}"])
def test_other_schemes_mean_nothing(client: FlaskClient, make_token: MakeToken, authorization: str) -> None:
    user_id = new_id()
    authorization = authorization.replace("{}", make_token())
    assert who(client, Authorization=authorization).json["data"] is None
    cookie = f"authToken={make_token(user_id)}"
    assert who(client, Authorization=authorization, Cookie=cookie).json["data"] == user_id


DEAD = {
    "malformed": ("x", "UNAUTHORIZED"),
    "of another application": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "UNAUTHORIZED"),
    "with a space that is not one": ("\xa0{}", "UNAUTHORIZED"),
    "expired": ("{expired}", "TOKEN_EXPIRED"),
    "revoked": ("{revoked}", "TOKEN_REVOKED"),
}


@pytest.mark.parametrize("case", DEAD)
def test_a_cookie_that_proves_nobody_is_no_credential(
    app: Flask, client: FlaskClient, make_token: MakeToken, case: str
) -> None:
    value, code = DEAD[case]
    session_id, now = new_id(), clock.now().timestamp()
    service_of(app).get(Verifier).revocations.end_session(session_id, now)
    expired = make_token(iat=now - 2 * LIFETIME, exp=int(now) - LIFETIME)
    cookie = "authToken=" + value.format(make_token(), expired=expired, revoked=make_token(sid=session_id))
    assert who(client, Cookie=cookie).json["data"] is None
    refused = client.post("/api/toys", json={"name": "train", "price": 1}, headers={"Cookie": cookie})
    assert_problem(refused, 401, code)
    assert refused.headers.getlist("Set-Cookie") == ["authToken=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict"]
    user_id = new_id()
    assert who(client, Cookie=f"{cookie}; authToken={make_token(user_id)}").json["data"] == user_id
    with_bearer = who(client, Cookie=cookie, Authorization=f"Bearer {make_token(user_id)}")
    assert (with_bearer.json["data"], with_bearer.headers.getlist("Set-Cookie")) == (user_id, [])


def test_only_some_cookies_of_one_name_are_looked_at(client: FlaskClient, make_token: MakeToken) -> None:
    cookies = "; ".join(f"authToken={number}" for number in range(4))
    assert who(client, Cookie=f"{cookies}; authToken={make_token()}").json["data"] is None


@pytest.mark.parametrize(
    "cookie, header, status",
    [
        ("csrfToken={}", "{}", 201),
        ("csrfToken={}", "", 403),
        ("csrfToken={}", "{}x", 403),
        ("csrfToken=abc", "abc", 403),
        ("csrfToken=", "", 403),
        ("other={}", "{}", 403),
        ("csrfToken=é", "é", 403),
    ],
)
def test_an_unsafe_method_with_the_cookie_needs_the_csrf_token(
    app: Flask, client: FlaskClient, make_token: MakeToken, cookie: str, header: str, status: int
) -> None:
    session_id = new_id()
    csrf = service_of(app).get(Csrf).token(session_id)
    cookies = f"authToken={make_token(sid=session_id)}; {cookie.format(csrf)}"
    headers = {"Cookie": cookies, "X-CSRF-Token": header.format(csrf)}
    response = client.post("/api/toys", json={"name": "train", "price": 1}, headers=headers)
    assert response.status_code == status, response.text
    if status == 403:
        assert_problem(response, 403, "CSRF_FAILED")


def test_a_bearer_needs_no_csrf_token(client: FlaskClient, ann: dict[str, str]) -> None:
    assert client.post("/api/toys", json={"name": "train", "price": 1}, headers=ann).status_code == 201


@pytest.mark.parametrize(
    "role, status, code", [(None, 401, "UNAUTHORIZED"), ("user", 403, "FORBIDDEN"), ("moderator", 403, "FORBIDDEN")]
)
def test_a_view_for_admins_refuses_others(
    client: FlaskClient, as_user: AsUser, role: str | None, status: int, code: str
) -> None:
    headers = as_user(role=role) if role else {}
    assert_problem(client.get("/api/odd/admin", headers=headers), status, code)


def test_a_view_for_admins_takes_admins(client: FlaskClient, as_user: AsUser) -> None:
    assert client.get("/api/odd/admin", headers=as_user(role="admin")).status_code == 200


def test_who_may_comes_before_what_is_wrong_with_the_body(client: FlaskClient) -> None:
    assert_problem(client.post("/api/toys", json={}), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("kind", ["session.revoked", "user.suspended", "user.role_changed", "user.deleted"])
def test_what_auth_tells_ends_tokens(app: Flask, serve: Serve, make_token: MakeToken, kind: str) -> None:
    user_id, session_id = new_id(), new_id()
    token, other = make_token(user_id, sid=session_id), make_token()
    verifier = service_of(app).get(Verifier)
    verifier.verify(token)
    with database.atomic():
        models.feed.publish(kind, session_id if kind == "session.revoked" else user_id, {"userId": user_id})
    reader = RevocationConsumer(serve(app), app.config["INTERNAL_TOKEN"], verifier.revocations)
    assert reader.read_batch() == 1
    client = app.test_client(use_cookies=False)
    assert_problem(who(client, Authorization=f"Bearer {token}"), 401, "TOKEN_REVOKED")
    assert who(client, Authorization=f"Bearer {other}").status_code == 200
    fresh = make_token(user_id)
    assert who(client, Authorization=f"Bearer {fresh}").status_code == 200


@pytest.mark.parametrize("age, revoked", [(LIFETIME, True), (LIFETIME + 600, False)])
def test_a_start_reads_back_as_far_as_a_token_lives(
    app: Flask, serve: Serve, frozen_clock: FrozenClock, age: int, revoked: bool
) -> None:
    with database.atomic():
        models.feed.publish("session.revoked", "s1", {"userId": "u"})
    frozen_clock.advance(seconds=age)
    revocations = Revocations()
    RevocationConsumer(serve(app), app.config["INTERNAL_TOKEN"], revocations).read_batch()
    assert ("s1" in revocations._ended) is revoked


def test_a_process_that_was_long_without_the_feed_reads_back_as_at_its_start(
    app: Flask, serve: Serve, frozen_clock: FrozenClock
) -> None:
    """Until then it knows too little to take a token."""
    for number in range(3):
        with database.atomic():
            models.feed.publish("session.revoked", f"s{number}", {"userId": "u"})
    frozen_clock.advance(days=31)
    with database.atomic():
        models.feed.publish("session.revoked", "new", {"userId": "u"})
    models.feed.prune()
    revocations = Revocations()
    reader = RevocationConsumer(serve(app), app.config["INTERNAL_TOKEN"], revocations)
    reader.last_event_id = "0-1"
    assert reader.read_batch() == BATCH
    assert reader.read_batch() == 1
    assert set(revocations._ended) == {"new"}


def test_a_token_that_cannot_be_checked_is_503(app: Flask, client: FlaskClient, as_user: AsUser) -> None:
    def away() -> Any:
        raise OSError

    service_of(app).get(Verifier)._keys._fetch = away
    assert_problem(client.get("/api/odd/who", headers=as_user()), 503, "SERVICE_UNAVAILABLE")
    assert who(client).status_code == 200
