from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from services.auth import create_app, limits, passwords
from services.auth.config import Config
from services.auth.models import AuditEvent, FailedLogin, User, database
from shared.env import SettingsError
from tests.auth.conftest import PASSWORD, Client, Register, bearer, log_in, run_at_once
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
                limits.fail("ann@example.org")
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
