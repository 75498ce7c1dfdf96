import threading
from typing import Any

import argon2
import pytest
from argon2.exceptions import VerifyMismatchError
from flask import Flask

from services.auth.models import Fact, Profile, Session, User, database
from shared.problems import Problem
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer
from tests.conftest import on_sqlite
from tests.helpers import assert_problem


def test_a_new_account_is_signed_in(client: Client) -> None:
    answer = client.post("/api/auth/register", json=account())
    data = answer.json["data"]
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert data.keys() == {"user", "accessToken", "refreshToken", "tokenType", "expiresIn"}
    assert (data["tokenType"], data["expiresIn"]) == ("Bearer", 900)
    user = data["user"]
    assert user.keys() == {
        "id", "name", "email", "role", "avatar", "bio", "emailVerified", "createdAt", "lastLogin",
    }  # fmt: skip
    assert (user["role"], user["emailVerified"], user["lastLogin"]) == ("user", False, None)
    assert client.get("/api/auth/me", headers=bearer(data)).json["data"] == user


def test_user_profile_and_fact_are_one_transaction(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr("services.auth.accounts.public_profile", fail)
    assert_problem(client.post("/api/auth/register", json=account()), 500, "INTERNAL_ERROR")
    assert (User.select().count(), Profile.select().count(), Fact.select().count()) == (0, 0, 0)


@pytest.mark.parametrize(
    "email",
    ["ann@example.org", "Ann@Example.ORG", " ann@example.org ", "ａｎｎ@example.org"],
    ids=["same", "another case", "spaces", "full width"],
)
def test_an_address_is_taken_in_every_form(client: Client, register: Register, email: str) -> None:
    register()
    assert_problem(client.post("/api/auth/register", json=account(email=email)), 409, "EMAIL_TAKEN")
    assert User.select().count() == 1


@on_sqlite
@pytest.mark.parametrize(
    "changes, field",
    [
        ({"name": "A"}, "name"),
        ({"name": " A "}, "name"),
        ({"name": "A" * 51}, "name"),
        ({"name": "A\nB"}, "name"),
        ({"name": "A\0B"}, "name"),
        ({"name": 12}, "name"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b@c.org"}, "email"),
        ({"email": "ann@example.org\r\nBcc: x@example.org"}, "email"),
        ({"email": f"{'a' * 250}@example.org"}, "email"),
        ({"email": f"ann@{'ü' * 60}.de"}, "email"),
        ({"email": "ann@。org"}, "email"),
        ({"email": None}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": ["long enough"]}, "password"),
        ({"role": "admin"}, "role"),
    ],
)
def test_a_bad_field_is_named(client: Client, changes: dict[str, Any], field: str) -> None:
    problem = assert_problem(client.post("/api/auth/register", json=account(**changes)), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [field]
    assert User.select().count() == 0


@on_sqlite
@pytest.mark.parametrize("field", ["name", "email", "password"])
def test_a_missing_field_is_named(client: Client, field: str) -> None:
    body = {key: value for key, value in account().items() if key != field}
    problem = assert_problem(client.post("/api/auth/register", json=body), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [field]


def test_one_of_many_racing_registrations_wins(app: Flask) -> None:
    statuses: list[int] = []

    def register() -> None:
        try:
            statuses.append(app.test_client().post("/api/auth/register", json=account()).status_code)
        finally:
            database.close()

    threads = [threading.Thread(target=register) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 19
    assert User.select().count() == Profile.select().count() == Fact.select().count() == 1


def test_login_notes_the_time(client: Client, register: Register) -> None:
    register()
    answer = client.post("/api/auth/login", json={"email": "ANN@example.org", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["data"]["user"]["lastLogin"] is not None


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ann@example.org", "password": "another secret"},
        {"email": "ann@example.org", "password": f" {PASSWORD}"},
        {"email": "bob@example.org", "password": PASSWORD},
        {"email": "no address", "password": PASSWORD},
    ],
)
def test_wrong_credentials_are_refused_in_the_same_words(client: Client, register: Register, body: Any) -> None:
    register()
    problem = assert_problem(client.post("/api/auth/login", json=body), 401, "INVALID_CREDENTIALS")
    assert problem["detail"] == "Check both, or reset the password."
    assert Session.select().count() == 1


def test_an_unknown_address_costs_one_hash_as_a_known_one_does(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.auth import passwords

    register()
    passwords.matches(None, "made before")
    verified: list[str] = []
    verify = passwords.hasher.verify

    def counted(_: Any, known: str, given: str) -> bool:
        verified.append(given)
        return verify(known, given)

    monkeypatch.setattr(type(passwords.hasher), "verify", counted)
    for email in ("ann@example.org", "bob@example.org"):
        client.post("/api/auth/login", json={"email": email, "password": "wrong password"})
    assert verified == ["wrong password"] * 2


def test_a_suspended_account_cannot_sign_in(client: Client, register: Register) -> None:
    User.update(status="suspended").where(User.id == register()["user"]["id"]).execute()
    body = {"email": "ann@example.org", "password": PASSWORD}
    assert_problem(client.post("/api/auth/login", json=body), 403, "ACCOUNT_SUSPENDED")


def test_an_outdated_hash_is_renewed_at_login(client: Client, register: Register) -> None:
    from argon2 import PasswordHasher

    user_id = register()["user"]["id"]
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    User.update(password_hash=old).where(User.id == user_id).execute()
    assert client.post("/api/auth/login", json={"email": "ann@example.org", "password": PASSWORD}).status_code == 200
    assert "t=1," in User.get_by_id(user_id).password_hash


def test_renewing_a_hash_does_not_undo_a_new_password(app: Flask, register: Register) -> None:
    from argon2 import PasswordHasher

    from services.auth import accounts

    user_id = register()["user"]["id"]
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    User.update(password_hash=old).where(User.id == user_id).execute()
    with app.test_request_context():
        user = accounts.check_password("ann@example.org", PASSWORD)
        User.update(password_hash="made in the meantime").where(User.id == user_id).execute()
        with pytest.raises(Problem, match="INVALID_CREDENTIALS"):
            accounts.renew_hash(user, PASSWORD)
    assert User.get_by_id(user_id).password_hash == "made in the meantime"


def test_logins_that_renew_a_hash_at_once_all_succeed(app: Flask, register: Register) -> None:
    from argon2 import PasswordHasher

    from services.auth import accounts

    register()
    User.update(password_hash=PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)).execute()
    with app.test_request_context():
        users = [accounts.check_password("ann@example.org", PASSWORD) for _ in range(2)]
        for user in users:
            accounts.renew_hash(user, PASSWORD)
            with database.atomic():
                accounts.note_login(user)


def test_the_hash_for_unknown_addresses_takes_the_same_work_as_any() -> None:
    from services.auth import passwords

    made, real = argon2.extract_parameters(passwords.dummy_hash()), passwords.hash_password(PASSWORD)
    assert made == argon2.extract_parameters(real)
    with pytest.raises(VerifyMismatchError):
        passwords.hasher.verify(passwords.dummy_hash(), PASSWORD)


@on_sqlite
def test_passwords_are_taken_as_they_are(client: Client, register: Register) -> None:
    secret = "  пароль\twith 密 and spaces "
    register(password=secret)
    for given, status in ((secret, 200), (secret.strip(), 401)):
        body = {"email": "ann@example.org", "password": given}
        assert client.post("/api/auth/login", json=body).status_code == status


def test_the_public_profile_has_no_address(client: Client, register: Register) -> None:
    user = register()["user"]
    profile = client.get(f"/api/users/{user['id']}").json["data"]
    assert profile == {key: user[key] for key in ("id", "name", "bio", "avatar", "createdAt")}


@pytest.mark.parametrize("user_id", ["0197a1c2-0000-7000-8000-000000000000", "1", "%00", "x" * 400])
def test_an_unknown_user_is_a_404(client: Client, user_id: str) -> None:
    assert_problem(client.get(f"/api/users/{user_id}"), 404, "NOT_FOUND")
