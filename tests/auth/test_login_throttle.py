import hashlib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask

from services.auth import login_throttle, passwords, signin_sources
from services.auth.app import create_app
from services.auth.config import Config
from services.auth.models import AuditEvent, User, database
from services.auth.retention import prune
from services.auth.signin_models import FailedLogin, SigninSource
from shared.settings import SettingsError
from tests.auth.conftest import PASSWORD, Client, Register, bearer, log_in, run_at_once
from tests.auth.mailbox import answer_requests, last_token
from tests.conftest import FrozenClock
from tests.helpers import assert_problem

WRONG = "a wrong secret"


def fail(client: Client, times: int, email: str = "ann@example.org") -> None:
    for _ in range(times):
        assert_problem(log_in(client, email, WRONG), 401, "INVALID_CREDENTIALS")


@pytest.mark.parametrize("email", ["ann@example.org", "nobody@example.org", "no address"])
def test_five_failures_stop_an_account_known_or_not(client: Client, register: Register, email: str) -> None:
    register()
    fail(client, 5, email)
    problem = assert_problem(log_in(client, email.upper()), 429, "RATE_LIMITED")
    assert 295 <= problem["retryAfter"] <= 300
    fail(client, 1, "somebody.else@example.org")


def test_a_stopped_account_costs_no_hash(client: Client, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    fail(client, 5)
    monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("a hash"))
    assert_problem(log_in(client), 429, "RATE_LIMITED")


def test_each_failure_counts_for_five_minutes(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    register()
    fail(client, 1)
    frozen_clock.advance(minutes=2)
    fail(client, 4)
    frozen_clock.advance(minutes=2, seconds=59)
    assert assert_problem(log_in(client), 429, "RATE_LIMITED")["retryAfter"] == 1
    frozen_clock.advance(seconds=1)
    fail(client, 1)
    assert_problem(log_in(client), 429, "RATE_LIMITED")
    frozen_clock.advance(minutes=5)
    assert log_in(client).status_code == 200


def test_a_success_clears_the_failures(client: Client, register: Register) -> None:
    register()
    fail(client, 4)
    assert log_in(client).status_code == 200
    fail(client, 5)
    assert_problem(log_in(client), 429, "RATE_LIMITED")


def test_the_owners_sessions_go_on(client: Client, register: Register) -> None:
    signin = register()
    fail(client, 5)
    assert client.get("/api/auth/me", headers=bearer(signin)).status_code == 200
    assert client.post("/api/auth/refresh", json={"refreshToken": signin["refreshToken"]}).status_code == 200
    body = {"oldPassword": PASSWORD, "newPassword": "another secret"}
    assert client.put("/api/auth/me/password", json=body, headers=bearer(signin)).status_code == 204


def test_guesses_at_the_old_password_are_counted_too(client: Client, register: Register) -> None:
    headers = bearer(register())
    body = {"oldPassword": WRONG, "newPassword": "another secret"}
    for _ in range(5):
        assert client.put("/api/auth/me/password", json=body, headers=headers).status_code == 401
    right = body | {"oldPassword": PASSWORD}
    assert_problem(client.put("/api/auth/me/password", json=right, headers=headers), 429, "RATE_LIMITED")
    deletion = client.delete("/api/auth/me", json={"password": PASSWORD}, headers=headers)
    assert_problem(deletion, 429, "RATE_LIMITED")
    assert log_in(client).status_code == 200


def test_of_many_guesses_at_once_five_are_answered(app: Flask, register: Register) -> None:
    register()
    statuses: list[int] = []
    run_at_once(*[lambda: statuses.append(log_in(app.test_client(), password=WRONG).status_code)] * 12)
    assert sorted(statuses) == [401] * 5 + [429] * 7


@pytest.mark.parametrize("status", ["active", "suspended"])
def test_a_right_guess_among_too_many_is_not_told(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    register()
    User.update(status=status).execute()
    matches = passwords.matches

    def overtaken(*details: Any) -> bool:
        with database.atomic():
            for _ in range(5):
                login_throttle.record_failure("ann@example.org", signin_sources.known_source(User.get().id))
        return matches(*details)

    monkeypatch.setattr(passwords, "matches", overtaken)
    assert_problem(log_in(client), 429, "RATE_LIMITED")


def test_many_right_logins_at_once_are_no_failures(app: Flask, client: Client, register: Register) -> None:
    register()
    for _ in range(8):
        assert log_in(client).status_code == 200
    assert FailedLogin.select().count() == 0


def test_failures_outlive_a_restart(client: Client, register: Register, settings: dict[str, str]) -> None:
    register()
    fail(client, 5)
    database.close()
    again = create_app(Config.load(settings)).test_client()
    assert_problem(log_in(again), 429, "RATE_LIMITED")


def test_neither_old_failures_nor_addresses_are_kept(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    fail(client, 3, "nobody@example.org")
    assert "nobody" not in repr([row.__data__ for row in FailedLogin.select()])
    frozen_clock.advance(minutes=5)
    fail(client, 1)
    assert FailedLogin.select().count() == 1
    assert AuditEvent.select().where(AuditEvent.kind == "login_failed").count() == 4


@pytest.fixture
def uncounted(settings: dict[str, str]) -> Iterator[Client]:
    yield create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"})).test_client()
    database.close()


def test_counting_can_be_switched_off_but_not_in_production(uncounted: Client) -> None:
    fail(uncounted, 8)
    with pytest.raises(SettingsError) as caught:
        Config.load({"APP_ENV": "production", "RATELIMIT_ENABLED": "false", "INTERNAL_TOKEN": "x"})
    assert "RATELIMIT_ENABLED cannot be false in production" in caught.value.mistakes


def from_address(client: Client, address: str, password: str = WRONG, cookie: str = "", **changes: Any) -> Any:
    headers = {"X-Forwarded-For": address, "Cookie": cookie}
    return client.post("/api/auth/login", json=LOGIN | {"password": password} | changes, headers=headers)


def statuses(client: Client, address: str, times: int, **options: Any) -> list[int]:
    return [from_address(client, address, **options).status_code for _ in range(times)]


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client(use_cookies=False)


LOGIN = {"email": "ann@example.org"}
STOPPED = [401] * 5 + [429]


def test_strangers_stop_guesses_and_not_the_owner(client: Client, register: Register) -> None:
    register()
    from_address(client, "203.0.113.1", PASSWORD)
    assert statuses(client, "198.51.100.1", 3) + statuses(client, "198.51.100.2", 3) == STOPPED
    assert from_address(client, "198.51.100.3", PASSWORD).status_code == 429
    assert from_address(client, "203.0.113.1", PASSWORD).status_code == 200
    assert from_address(client, "198.51.100.3", PASSWORD).status_code == 429  # the owner's success changes nothing
    assert statuses(client, "203.0.113.1", 6) == STOPPED


def test_ipv6_is_known_by_its_customer(client: Client, register: Register) -> None:
    register()
    from_address(client, "2001:db8::1", PASSWORD)
    statuses(client, "198.51.100.1", 5)
    assert from_address(client, "2001:db8::ffff", PASSWORD).status_code == 200
    assert from_address(client, "2001:db8:0:1::1", PASSWORD).status_code == 429


def device_of(answer: Any) -> str:
    lines = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("device=")]
    return str(lines[0].partition(";")[0]) if lines else ""


def test_a_browser_is_known_wherever_it_goes(client: Client, register: Register) -> None:
    register()
    device = device_of(from_address(client, "203.0.113.1", PASSWORD, rememberMe=True))
    statuses(client, "203.0.113.1", 5)
    statuses(client, "198.51.100.1", 5)
    assert from_address(client, "203.0.113.1", PASSWORD).status_code == 429
    assert statuses(client, "198.51.100.2", 1, cookie=device) == [401]
    again = from_address(client, "198.51.100.2", PASSWORD, device, cookieOnly=True)
    assert (again.status_code, device_of(again)) == (200, device)
    assert statuses(client, "198.51.100.9", 6, cookie=device) == STOPPED
    assert statuses(client, "198.51.100.9", 1, cookie="device=planted; device=another") == [429]


def test_a_login_without_cookies_makes_no_browser_known(client: Client, register: Register) -> None:
    register()
    assert device_of(from_address(client, "203.0.113.1", PASSWORD)) == ""
    planted = from_address(client, "203.0.113.1", PASSWORD, "device=planted", rememberMe=True)
    assert device_of(planted) not in ("", "device=planted")


def test_a_browser_of_another_account_is_not_known(client: Client, register: Register) -> None:
    register()
    register(email="eve@example.org")
    device = device_of(from_address(client, "198.51.100.1", PASSWORD, email="eve@example.org", rememberMe=True))
    statuses(client, "203.0.113.1", 5)
    assert from_address(client, "198.51.100.1", cookie=device).status_code == 429


@pytest.mark.parametrize("days, status", [(29, 200), (30, 429)])
def test_addresses_and_browsers_are_known_for_30_days(
    client: Client, frozen_clock: FrozenClock, register: Register, days: int, status: int
) -> None:
    register()
    device = device_of(from_address(client, "203.0.113.1", PASSWORD, rememberMe=True))
    frozen_clock.moment += timedelta(days=days)
    statuses(client, "198.51.100.1", 5)
    assert from_address(client, "203.0.113.1", PASSWORD).status_code == status
    assert from_address(client, "198.51.100.1", PASSWORD, device).status_code == status
    prune()
    assert (SigninSource.select().count() > 0) == (status == 200)


def test_the_last_twenty_addresses_are_known(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    register()
    for number in range(1, 22):
        frozen_clock.advance(seconds=1)
        from_address(client, f"203.0.113.{number}", PASSWORD)
    assert SigninSource.select().count() == 20
    statuses(client, "198.51.100.1", 5)
    assert from_address(client, "203.0.113.1", PASSWORD).status_code == 429
    assert from_address(client, "203.0.113.2", PASSWORD).status_code == 200


def test_neither_addresses_nor_cookies_are_stored(client: Client, register: Register) -> None:
    register()
    device = device_of(from_address(client, "203.0.113.1", PASSWORD, rememberMe=True)).partition("=")[2]
    statuses(client, "203.0.113.1", 1)
    stored = repr([row.__data__ for model in (SigninSource, FailedLogin) for row in model.select()])
    assert "203.0.113.1" not in stored
    assert device not in stored
    plain = {hashlib.sha256(text.encode()).hexdigest() for text in ("203.0.113.1", device)}
    assert not any(digest in stored for digest in plain)


NEW = "another secret"


def change_password(client: Client, signin: dict[str, Any], admin: dict[str, Any]) -> None:
    body = {"oldPassword": PASSWORD, "newPassword": NEW}
    assert client.put("/api/auth/me/password", json=body, headers=bearer(signin)).status_code == 204


def reset_password(client: Client, signin: dict[str, Any], admin: dict[str, Any]) -> None:
    client.post("/api/auth/forgot-password", json=LOGIN)
    answer_requests(client)
    body = {"token": last_token("reset"), "password": NEW}
    assert client.post("/api/auth/reset-password", json=body).status_code == 204


def change_by_admin(client: Client, signin: dict[str, Any], admin: dict[str, Any]) -> None:
    url = f"/api/users/{signin['user']['id']}"
    assert client.patch(url, json={"password": NEW}, headers=bearer(admin)).status_code == 200


@pytest.mark.parametrize("change", [change_password, reset_password, change_by_admin])
def test_another_password_clears_all_counts_and_forgets_browsers(
    client: Client, register: Register, admin: dict[str, Any], change: Any
) -> None:
    signin = register()
    device = device_of(from_address(client, "203.0.113.1", PASSWORD, rememberMe=True))
    statuses(client, "203.0.113.1", 5)
    statuses(client, "198.51.100.1", 5)
    change(client, signin, admin)
    assert statuses(client, "198.51.100.1", 5) == [401] * 5
    assert from_address(client, "198.51.100.1", NEW, device).status_code == 429
    assert from_address(client, "203.0.113.1", NEW).status_code == 200


def test_a_session_is_refreshed_ten_times_a_minute(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    tokens = [register()["refreshToken"], register(email="bob@example.org")["refreshToken"]]
    for _ in range(10):
        frozen_clock.advance(seconds=1)
        tokens = [refresh(client, token).json["data"]["refreshToken"] for token in tokens]
    refused = assert_problem(refresh(client, tokens[0]), 429, "RATE_LIMITED")
    assert refused["retryAfter"] == 51
    frozen_clock.advance(seconds=51)
    assert refresh(client, tokens[0]).status_code == 200


def refresh(client: Client, token: str) -> Any:
    return client.post("/api/auth/refresh", json={"refreshToken": token})


def test_sign_ins_guesses_and_a_change_of_the_password_at_once_hinder_nobody(app: Flask, register: Register) -> None:
    signin, statuses = register(), list[int]()
    client = app.test_client(use_cookies=False)
    devices = [device_of(from_address(client, "203.0.113.1", PASSWORD, rememberMe=True)) for _ in range(4)]

    def sign_in(number: int) -> None:
        client = app.test_client(use_cookies=False)
        cookie = devices[number % 4]
        answer = from_address(client, f"203.0.113.{number % 3}", PASSWORD, cookie, rememberMe=True)
        statuses.append(answer.status_code)

    def guess() -> None:
        statuses.append(from_address(app.test_client(use_cookies=False), "198.51.100.1").status_code)

    def change() -> None:
        body = {"oldPassword": PASSWORD, "newPassword": NEW}
        statuses.append(app.test_client().put("/api/auth/me/password", json=body, headers=bearer(signin)).status_code)

    run_at_once(*[partial(sign_in, number) for number in range(8)], *[guess] * 4, change)
    assert set(statuses) <= {200, 204, 401, 429}
    assert len(statuses) == 13
