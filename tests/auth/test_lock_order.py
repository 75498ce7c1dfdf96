"""Two writers of one account never wait for each other: every pair, on the engine that locks rows."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any

import pytest
from flask import Flask

from services.auth import retention
from services.auth.account_mail import RESET, VERIFY, AccountMailer
from services.auth.models import MailToken, User
from services.auth.signin_models import FailedLogin, SigninSource
from shared import clock
from shared.ids import new_id
from shared.service import service_of
from tests.auth.conftest import PASSWORD, Client, Register, bearer, log_in, run_at_once
from tests.lock_order import slow_statements

pytestmark = pytest.mark.slow

NEW_PASSWORD = "another long secret"
__all__ = ["slow_statements"]


@dataclass
class Target:
    """An account with two sessions and with mailed links, and an admin who changes it."""

    app: Flask
    user: dict[str, Any]
    signins: list[dict[str, Any]]
    admin: dict[str, Any]
    links: dict[str, list[str]] = field(default_factory=lambda: {"verify": [], "reset": []})

    def add_links(self) -> None:
        """Mail five links of each kind, of which two are too old, and note failures."""
        now = clock.now()
        known = SigninSource.get(SigninSource.user == self.user["id"]).digest
        account = hashlib.sha256(self.user["email"].encode()).hexdigest()
        for _ in range(3):
            FailedLogin.create(account=account, source=known, created_at=now)
        for link in (VERIFY, RESET):
            for number in range(5):
                token = token_urlsafe(32)
                MailToken.create(
                    hash=hashlib.sha256(token.encode()).digest(),
                    user=self.user["id"],
                    purpose=link.purpose,
                    email_folded=self.user["email"],
                    expires_at=now + (link.lifetime if number < 3 else -timedelta(days=1)),
                )
                if number < 3:
                    self.links[link.purpose].append(token)


def verify(target: Target, client: Client) -> Any:
    return client.post("/api/auth/verify-email", json={"token": target.links["verify"].pop()})


def reset(target: Target, client: Client) -> Any:
    body = {"token": target.links["reset"].pop(), "password": NEW_PASSWORD}
    return client.post("/api/auth/reset-password", json=body)


def refresh(target: Target, client: Client) -> Any:
    return client.post("/api/auth/refresh", json={"refreshToken": target.signins[1]["refreshToken"]})


def log_in_again(target: Target, client: Client) -> Any:
    return log_in(client, target.user["email"])


def change_account(target: Target, client: Client) -> Any:
    cookie = f"refreshToken={target.signins[1]['refreshToken']}"
    return client.post(
        "/api/auth/login", json={"email": "root@example.org", "password": PASSWORD}, headers={"Cookie": cookie}
    )


def fail_to_log_in(target: Target, client: Client) -> Any:
    return log_in(client, target.user["email"], "a wrong password")


def log_out(target: Target, client: Client) -> Any:
    return client.post("/api/auth/logout", headers=bearer(target.signins[1]))


def log_out_all(target: Target, client: Client) -> Any:
    return client.post("/api/auth/logout-all", headers=bearer(target.signins[0]))


def change_password(target: Target, client: Client) -> Any:
    body = {"oldPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    return client.put("/api/auth/me/password", json=body, headers=bearer(target.signins[0]))


def change_profile(target: Target, client: Client) -> Any:
    return client.patch("/api/auth/me", json={"name": "Anna", "bio": "x"}, headers=bearer(target.signins[0]))


def leave(target: Target, client: Client) -> Any:
    return client.delete("/api/auth/me", json={"password": PASSWORD}, headers=bearer(target.signins[0]))


def ask_for_links(target: Target, client: Client) -> Any:
    answer = client.post("/api/auth/forgot-password", json={"email": target.user["email"]})
    service_of(target.app).get(AccountMailer).answer_requests()
    return answer


def suspend(target: Target, client: Client) -> Any:
    path = f"/api/admin/users/{target.user['id']}"
    return client.patch(path, json={"status": "suspended"}, headers=bearer(target.admin))


def change_address(target: Target, client: Client) -> Any:
    path, body = f"/api/users/{target.user['id']}", {"email": f"{new_id()}@example.org"}
    return client.patch(path, json=body, headers=bearer(target.admin))


def delete(target: Target, client: Client) -> Any:
    return client.delete(f"/api/users/{target.user['id']}", headers=bearer(target.admin))


def prune(_target: Target, _client: Client) -> None:
    retention.prune()


Writer = Callable[[Target, Client], Any]
WRITERS: list[Writer] = [
    verify, reset, refresh, log_in_again, change_account, fail_to_log_in,
    log_out, log_out_all, change_password, change_profile, leave,
    ask_for_links, suspend, change_address, delete, prune,
]  # fmt: skip


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("first", WRITERS, ids=lambda writer: writer.__name__)
def test_no_pair_of_writers_deadlocks(
    app: Flask, register: Register, admin: dict[str, Any], slow_statements: list[bool], first: Writer
) -> None:
    app.config["COUNT_FAILURES"] = False
    for second in WRITERS[WRITERS.index(first) :]:
        email = f"{new_id()}@example.org"
        signin = register(email=email)
        again = log_in(app.test_client(), email).json["data"]
        target = Target(app, signin["user"], [signin, again], admin)
        target.add_links()
        answers: list[Any] = []
        writers = [first, second, second] if first in (verify, reset) else [first, second]

        def call(writer: Writer, target: Target = target, answers: list[Any] = answers) -> Callable[[], None]:
            return lambda: answers.append(writer(target, app.test_client()))

        slow_statements[0] = True
        run_at_once(*[call(writer) for writer in writers])
        slow_statements[0] = False
        assert len(answers) == len(writers), f"{first.__name__} and {second.__name__}: one raised"
        failed = [answer.text for answer in answers if answer is not None and answer.status_code >= 500]
        assert failed == [], f"{first.__name__} and {second.__name__}"
        User.delete().where(User.id == target.user["id"]).execute()
