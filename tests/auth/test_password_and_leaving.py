from typing import Any

import pytest
from flask import Flask

from services.auth.models import AuditEvent, Fact, Profile, RefreshToken, Session, User
from tests.auth.conftest import PASSWORD, Client, Register, bearer, log_in, run_at_once, session_of
from tests.helpers import assert_problem

OTHER = "another long secret"


def change(client: Client, signin: dict[str, Any], old: str = PASSWORD, new: str = OTHER) -> Any:
    body = {"oldPassword": old, "newPassword": new}
    return client.put("/api/auth/me/password", json=body, headers=bearer(signin))


def test_the_new_password_counts_and_the_old_one_does_not(client: Client, register: Register) -> None:
    answer = change(client, register())
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(log_in(client), 401, "INVALID_CREDENTIALS")
    assert log_in(client, password=OTHER).status_code == 200


def test_a_changed_password_ends_the_other_sessions(client: Client, register: Register) -> None:
    here, other = register(), register(email="bob@example.org")
    there = log_in(client).json["data"]
    change(client, here)
    assert_problem(client.get("/api/auth/me", headers=bearer(there)), 401, "TOKEN_REVOKED")
    for signin in (here, other):
        assert client.get("/api/auth/me", headers=bearer(signin)).status_code == 200
    assert [fact.subject for fact in Fact.select().where(Fact.type == "session.revoked")] == [session_of(there)]
    assert AuditEvent.get(AuditEvent.kind == "password_changed").user_id == here["user"]["id"]


def test_the_old_password_is_needed(client: Client, register: Register) -> None:
    signin = register()
    assert_problem(change(client, signin, old="a wrong secret"), 401, "INVALID_CREDENTIALS")
    assert_problem(client.put("/api/auth/me/password", json={}), 401, "UNAUTHORIZED")
    assert log_in(client).status_code == 200
    assert AuditEvent.select().where(AuditEvent.kind == "password_refused").count() == 1


@pytest.mark.parametrize("new", ["short", "x" * 129, None, 12])
def test_a_bad_new_password_is_named(client: Client, register: Register, new: Any) -> None:
    problem = assert_problem(change(client, register(), new=new), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == ["newPassword"]


def test_of_racing_changes_one_wins(app: Flask, register: Register) -> None:
    signin = register()
    statuses: list[int] = []
    run_at_once(
        *(
            lambda i=i: statuses.append(change(app.test_client(), signin, new=f"{OTHER} {i}").status_code)
            for i in range(4)
        )
    )
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 401, 409}


def test_a_login_with_the_old_password_does_not_outlive_the_change(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.auth import accounts

    signin = register()
    check = accounts.check_password

    def changed_meanwhile(email: str, password: str) -> User:
        user = check(email, password)
        assert change(client, signin).status_code == 204
        return user

    monkeypatch.setattr(accounts, "check_password", changed_meanwhile)
    assert_problem(log_in(client), 401, "INVALID_CREDENTIALS")
    assert [session.id for session in Session.select()] == [session_of(signin)]


def test_a_deleted_account_is_gone_and_told(client: Client, register: Register) -> None:
    signin = register()
    there = log_in(client).json["data"]
    answer = client.delete("/api/auth/me", json={"password": PASSWORD}, headers=bearer(signin))
    assert (answer.status_code, answer.data) == (204, b"")
    for model in (User, Profile, Session, RefreshToken):
        assert model.select().count() == 0
    fact = Fact.select().order_by(Fact.id.desc()).get()
    assert (fact.type, fact.subject, fact.data) == (
        "user.deleted",
        signin["user"]["id"],
        f'{{"id":"{signin["user"]["id"]}"}}',
    )
    assert_problem(client.get("/api/auth/me", headers=bearer(there)), 401, "TOKEN_REVOKED")
    assert_problem(log_in(client), 401, "INVALID_CREDENTIALS")
    assert client.get(f"/api/users/{signin['user']['id']}").status_code == 404
    assert AuditEvent.get(AuditEvent.kind == "user_left").user_id == signin["user"]["id"]


def test_deleting_needs_the_password(client: Client, register: Register) -> None:
    signin = register()
    for body, status, code in (({"password": OTHER}, 401, "INVALID_CREDENTIALS"), ({}, 400, "VALIDATION_ERROR")):
        assert_problem(client.delete("/api/auth/me", json=body, headers=bearer(signin)), status, code)
    assert User.select().count() == 1


def test_an_edit_on_an_old_version_does_not_delete(client: Client, register: Register) -> None:
    headers = bearer(register())
    seen = client.get("/api/auth/me", headers=headers).headers["ETag"]
    client.patch("/api/auth/me", json={"name": "Anna"}, headers=headers)
    answer = client.delete("/api/auth/me", json={"password": PASSWORD}, headers=headers | {"If-Match": seen})
    assert_problem(answer, 412, "PRECONDITION_FAILED")


def test_the_last_admin_cannot_leave(client: Client, register: Register) -> None:
    signin = register()
    User.update(role="admin").execute()
    answer = client.delete("/api/auth/me", json={"password": PASSWORD}, headers=bearer(signin))
    assert_problem(answer, 409, "CONFLICT")
    assert User.select().count() == 1
