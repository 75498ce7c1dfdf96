"""Verify an address, set a forgotten password: links that work once, for an hour or a day."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from services.auth import account_mail, retention
from services.auth.app import create_app
from services.auth.config import Config
from services.auth.models import Fact, LinkRequest, Mail, MailToken, Session, User, database
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer
from tests.auth.mailbox import answer_requests, last_token, mailed, token_of
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import assert_problem

ANN = "ann@example.org"
NEW = "quite another secret"


def verify(client: Client, token: str) -> Any:
    return client.post("/api/auth/verify-email", json={"token": token})


def resend(client: Client, email: str = ANN) -> Any:
    answer = client.post("/api/auth/verify-email/resend", json={"email": email})
    answer_requests(client)
    return answer


def forgot(client: Client, email: str = ANN) -> Any:
    answer = client.post("/api/auth/forgot-password", json={"email": email})
    answer_requests(client)
    return answer


def reset(client: Client, token: str, password: str = NEW) -> Any:
    return client.post("/api/auth/reset-password", json={"token": token, "password": password})


def login(client: Client, password: str = PASSWORD, email: str = ANN) -> Any:
    return client.post("/api/auth/login", json={"email": email, "password": password})


@pytest.fixture
def strict_client(settings: dict[str, str]) -> Iterator[Client]:
    """A service that wants addresses verified."""
    yield create_app(Config.load(settings | {"EMAIL_VERIFICATION": "required"})).test_client()
    database.close()


def test_a_new_account_is_mailed_a_link_that_verifies_the_address(client: Client, register: Register) -> None:
    signin = register()
    (mail,) = mailed("verify")
    assert mail.recipient == ANN
    assert f"http://localhost:8000/verify-email?token={token_of(mail)}" in mail.body
    answer = verify(client, token_of(mail))
    assert (answer.status_code, answer.json["data"]) == (200, {"email": ANN, "emailVerified": True})
    assert client.get("/api/auth/me", headers=bearer(signin)).json["data"]["emailVerified"] is True


@on_sqlite
def test_links_lead_to_the_front_end_where_there_is_one(settings: dict[str, str]) -> None:
    client = create_app(Config.load(settings | {"APP_URL": "https://app.example.org/"})).test_client()
    client.post("/api/auth/register", json=account())
    assert "\nhttps://app.example.org/verify-email?token=" in mailed("verify")[0].body


@on_sqlite
def test_an_address_in_full_width_gets_its_mail(client: Client, register: Register) -> None:
    register(email="Ａnn＠example.org")
    assert [mail.recipient for mail in mailed("verify")] == ["Ann@example.org"]


@on_sqlite
def test_what_a_user_wrote_does_not_get_into_a_mail(client: Client, register: Register) -> None:
    register(name="Win at http://evil.example")
    forgot(client)
    assert not [mail for mail in Mail.select() if "evil" in mail.subject + mail.body]


def test_only_hashes_of_tokens_are_kept(client: Client, register: Register) -> None:
    register()
    forgot(client)
    tokens = [last_token("verify"), last_token("reset")]
    stored = {bytes(row.hash) for row in MailToken.select()}
    assert stored == {hashlib.sha256(token.encode()).digest() for token in tokens}


def test_account_and_mail_are_one_transaction(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr("services.auth.resources.signin.sessions.open_session", fail)
    assert_problem(client.post("/api/auth/register", json=account()), 500, "INTERNAL_ERROR")
    assert (User.select().count(), Mail.select().count(), MailToken.select().count()) == (0, 0, 0)


def test_where_verification_is_required_it_comes_before_any_token(strict_client: Client) -> None:
    answer = strict_client.post("/api/auth/register", json=account())
    assert answer.status_code == 201
    assert answer.json["data"].keys() == {"user"}
    assert Session.select().count() == 0
    assert_problem(login(strict_client, "a wrong password"), 401, "INVALID_CREDENTIALS")
    assert_problem(login(strict_client), 403, "EMAIL_NOT_VERIFIED")
    verify(strict_client, last_token("verify"))
    assert login(strict_client).status_code == 200


@pytest.mark.parametrize("purpose, seconds", [("verify", 24 * 3600), ("reset", 3600)])
def test_a_link_expires(
    client: Client, register: Register, frozen_clock: FrozenClock, purpose: str, seconds: int
) -> None:
    register()
    forgot(client)
    use = verify if purpose == "verify" else reset
    frozen_clock.advance(seconds=seconds)
    assert_problem(use(client, last_token(purpose)), 403, "LINK_EXPIRED")
    frozen_clock.advance(seconds=-1)
    assert use(client, last_token(purpose)).status_code < 300


@pytest.mark.parametrize("purpose", ["verify", "reset"])
def test_racing_requests_use_a_link_once(app: Flask, register: Register, purpose: str) -> None:
    register()
    forgot(app.test_client())
    token, statuses = last_token(purpose), []
    use = verify if purpose == "verify" else reset
    ready = threading.Barrier(8, timeout=30)

    def run() -> None:
        try:
            ready.wait()
            statuses.append(use(app.test_client(), token).status_code)
        finally:
            database.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200 if purpose == "verify" else 204] + [403] * 7
    assert len(mailed("password_changed")) == (purpose == "reset")


@pytest.mark.parametrize("change", [lambda token: token + "=", lambda token: token[:-1] + "é", lambda _: "x" * 200])
@pytest.mark.parametrize("use", [verify, reset])
def test_an_altered_link_opens_nothing(
    client: Client, register: Register, change: Callable[[str], str], use: Callable[[Client, str], Any]
) -> None:
    register()
    forgot(client)
    for purpose in ("verify", "reset"):
        assert_problem(use(client, change(last_token(purpose))), 403, "LINK_EXPIRED")


def test_a_link_is_good_for_its_purpose_only(client: Client, register: Register) -> None:
    register()
    forgot(client)
    assert_problem(reset(client, last_token("verify")), 403, "LINK_EXPIRED")
    assert_problem(verify(client, last_token("reset")), 403, "LINK_EXPIRED")


def test_a_link_is_good_for_the_address_that_it_was_mailed_to(client: Client, register: Register) -> None:
    register()
    forgot(client)
    User.update(email="bob@example.org", email_folded="bob@example.org").execute()
    assert_problem(verify(client, last_token("verify")), 403, "LINK_EXPIRED")
    assert_problem(reset(client, last_token("reset")), 403, "LINK_EXPIRED")


def test_a_used_link_takes_its_older_ones_with_it(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    register()
    for _ in range(2):
        frozen_clock.advance(minutes=2)
        resend(client)
        forgot(client)
    older_verify, older_reset = token_of(mailed("verify")[1]), token_of(mailed("reset")[0])
    assert verify(client, last_token("verify")).status_code == 200
    assert_problem(verify(client, older_verify), 403, "LINK_EXPIRED")
    assert reset(client, last_token("reset")).status_code == 204
    assert_problem(reset(client, older_reset), 403, "LINK_EXPIRED")
    assert MailToken.select().count() == 0


def test_a_reset_changes_the_password_and_ends_every_session(client: Client, register: Register) -> None:
    sessions = [register(), login(client).json["data"]]
    assert forgot(client).status_code == 202
    answer = reset(client, last_token("reset"))
    assert (answer.status_code, answer.data) == (204, b"")
    for session in sessions:
        assert_problem(client.get("/api/auth/me", headers=bearer(session)), 401, "TOKEN_REVOKED")
        refreshed = client.post("/api/auth/refresh", json={"refreshToken": session["refreshToken"]})
        assert_problem(refreshed, 401, "TOKEN_REVOKED")
    ended = {fact.subject for fact in Fact.select().where(Fact.type == "session.revoked")}
    assert ended == {session.id for session in Session.select()}
    assert_problem(login(client), 401, "INVALID_CREDENTIALS")
    user = login(client, NEW).json["data"]["user"]
    assert user["emailVerified"] is True


def test_a_login_that_a_reset_overtakes_is_refused(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtake(*_: Any) -> None:
        assert reset(client, last_token("reset")).status_code == 204

    register()
    forgot(client)
    monkeypatch.setattr("services.auth.accounts.renew_hash", overtake)
    assert_problem(login(client), 401, "INVALID_CREDENTIALS")
    assert not Session.select().where(Session.revoked_at.is_null()).exists()


def test_a_reset_is_told_to_the_owner(client: Client, register: Register) -> None:
    register()
    forgot(client)
    assert mailed("password_changed") == []
    reset(client, last_token("reset"))
    assert [mail.recipient for mail in mailed("password_changed")] == [ANN]


def test_a_refused_password_leaves_the_link_usable(client: Client, register: Register) -> None:
    register()
    forgot(client)
    for password in ("short", "password123", ANN, "x" * 129):
        problem = assert_problem(reset(client, last_token("reset"), password), 400, "VALIDATION_ERROR")
        assert list(problem["errors"]) == ["password"]
    assert reset(client, last_token("reset")).status_code == 204


@pytest.mark.parametrize("ask", [resend, forgot])
def test_nobody_learns_which_addresses_are_known(
    client: Client, register: Register, ask: Callable[[Client, str], Any], frozen_clock: FrozenClock
) -> None:
    register()
    frozen_clock.advance(minutes=2)
    written = Mail.select().count()
    answers = [ask(client, email) for email in (ANN, ANN, "bob@example.org", "BOB@example.org")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert Mail.select().count() == written + 1


@pytest.mark.parametrize("path", ["verify-email/resend", "forgot-password"])
def test_the_request_does_the_same_for_every_address(client: Client, register: Register, path: str) -> None:
    register()
    LinkRequest.delete().execute()
    before = (Mail.select().count(), MailToken.select().count())
    for email in (ANN, "bob@example.org"):
        client.post(f"/api/auth/{path}", json={"email": email})
    assert [(row.email_folded, row.pending) for row in LinkRequest.select().order_by(LinkRequest.email_folded)] == [
        (ANN, True),
        ("bob@example.org", True),
    ]
    assert (Mail.select().count(), MailToken.select().count()) == before


def test_an_address_gets_one_mail_a_minute(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    register()
    resend(client)
    assert len(mailed("verify")) == 1
    for seconds, count in ((59, 1), (1, 2), (59, 2), (1, 3)):
        frozen_clock.advance(seconds=seconds)
        for form in (ANN, "Ann@Example.ORG", "ａｎｎ@example.org"):
            resend(client, form)
        assert len(mailed("verify")) == count


def test_racing_requests_get_one_mail(app: Flask, register: Register) -> None:
    register()

    def run() -> None:
        try:
            app.test_client().post("/api/auth/forgot-password", json={"email": ANN})
            answer_requests(app.test_client())
        finally:
            database.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mailed("reset")) == 1


@on_sqlite
def test_counting_can_be_switched_off(settings: dict[str, str]) -> None:
    client = create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"})).test_client()
    client.post("/api/auth/register", json=account())
    for _ in range(3):
        forgot(client)
        resend(client)
    assert (len(mailed("reset")), len(mailed("verify"))) == (3, 4)


def test_a_verified_address_is_not_asked_to_verify_again(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    register()
    verify(client, last_token("verify"))
    frozen_clock.advance(minutes=2)
    assert resend(client).status_code == 202
    assert len(mailed("verify")) == 1


def test_a_suspended_account_is_mailed_nothing(client: Client, register: Register) -> None:
    register()
    User.update(status="suspended").execute()
    forgot(client)
    assert mailed("reset") == []


def test_what_has_expired_is_forgotten(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    register()
    forgot(client, "bob@example.org")
    frozen_clock.advance(days=2)
    forgot(client)
    retention.prune()
    assert MailToken.select().count() == 1
    assert [row.email_folded for row in LinkRequest.select()] == [ANN]


@on_sqlite
@pytest.mark.parametrize(
    "path, body, field",
    [
        ("verify-email", {}, "token"),
        ("verify-email", {"token": ""}, "token"),
        ("verify-email", {"token": "x" * 201}, "token"),
        ("verify-email", {"token": 1}, "token"),
        ("verify-email/resend", {"email": "nobody"}, "email"),
        ("forgot-password", {"email": "a@b.org\r\nBcc: c@d.org"}, "email"),
        ("forgot-password", {"email": None}, "email"),
        ("reset-password", {"token": "x"}, "password"),
        ("reset-password", {"password": NEW}, "token"),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], field: str) -> None:
    problem = assert_problem(client.post(f"/api/auth/{path}", json=body), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [field]


def test_a_stolen_session_is_told_to_its_owner_once(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    token = register()["refreshToken"]
    for seconds in (0, 31, 1):
        frozen_clock.advance(seconds=seconds)
        client.post("/api/auth/refresh", json={"refreshToken": token})
    assert [mail.recipient for mail in mailed("session_stolen")] == [ANN]


def test_an_invitation_lasts_a_day_and_sets_the_password(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    register()
    with client.application.app_context(), database.atomic():
        account_mail.invite(User.get())
    frozen_clock.advance(hours=23)
    assert reset(client, last_token("reset")).status_code == 204
    assert login(client, NEW).status_code == 200


def test_a_changed_address_is_told_to_the_old_one_and_verified_anew(client: Client, register: Register) -> None:
    register()
    User.update(email="new@example.org", email_folded="new@example.org", email_verified=False).execute()
    with client.application.app_context(), database.atomic():
        account_mail.email_changed(User.get(), ANN)
    assert [mail.recipient for mail in mailed("email_changed")] == [ANN]
    assert [mail.recipient for mail in mailed("verify")] == [ANN, "new@example.org"]
    assert verify(client, last_token("verify")).json["data"] == {"email": "new@example.org", "emailVerified": True}


def test_a_changed_password_ends_the_links_to_set_one(client: Client, register: Register) -> None:
    register()
    forgot(client)
    with client.application.app_context(), database.atomic():
        account_mail.password_changed(User.get())
    assert_problem(reset(client, last_token("reset")), 403, "LINK_EXPIRED")
