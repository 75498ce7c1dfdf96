import threading
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from services.auth import access_tokens, accounts, passwords
from services.auth.config import Config
from services.auth.models import NO_PASSWORD, AuditEvent, Fact, Session, User, database
from services.auth.resources import users
from shared import clock
from shared.service import service_of
from tests.auth.conftest import PASSWORD, Client, Register, bearer, facts, log_in, run_at_once, session_of
from tests.helpers import assert_problem

Signin = dict[str, Any]


def people(client: Client, admin: Signin, query: str = "") -> list[str]:
    answer = client.get(f"/api/admin/users{query}", headers=bearer(admin))
    assert answer.status_code == 200, answer.text
    return [user["name"] for user in answer.json["data"]]


def give(client: Client, admin: Signin, user_id: str, **changes: str) -> Any:
    return client.patch(f"/api/admin/users/{user_id}", json=changes, headers=bearer(admin))


@pytest.fixture
def crowd(client: Client, admin: Signin) -> Signin:
    """Make some accounts of every kind, and return the admin."""
    password_hash = passwords.hash_password(PASSWORD)
    kinds = [
        ("Ünal", "active", True, "moderator", 3),
        ("Борис", "active", False, "user", None),
        ("100% real", "suspended", True, "user", 1),
        ("zoe", "active", True, "user", 2),
    ]
    for number, (name, status, verified, role, login) in enumerate(kinds):
        with database.atomic():
            user = accounts.register(name, f"person{number}@example.net", password_hash, role=role)
        last_login = clock.now() - timedelta(days=login) if login else None
        changes = {"status": status, "email_verified": verified, "last_login": last_login}
        User.update(changes).where(User.id == user.id).execute()
    return admin


@pytest.mark.parametrize(
    "query, names",
    [
        ("", {"Root", "Ünal", "Борис", "100% real", "zoe"}),
        ("?search=БОР", {"Борис"}),
        ("?search=ünal", {"Ünal"}),
        ("?search=example.NET", {"Ünal", "Борис", "100% real", "zoe"}),
        ("?search=person1", {"Борис"}),
        ("?search=0%25", {"100% real"}),
        ("?search=_", set()),
        ("?status=active", {"Root", "Ünal", "zoe"}),
        ("?status=pending", {"Борис"}),
        ("?status=suspended", {"100% real"}),
        ("?role=moderator", {"Ünal"}),
        ("?role=user&status=active", {"zoe"}),
    ],
)
def test_accounts_are_found(client: Client, crowd: Signin, query: str, names: set[str]) -> None:
    assert set(people(client, crowd, query)) == names
    assert set(people(client, crowd, query)) == names


@pytest.mark.parametrize(
    "sort, names",
    [
        ("newest", ["zoe", "100% real", "Борис", "Ünal", "Root"]),
        ("oldest", ["Root", "Ünal", "Борис", "100% real", "zoe"]),
        ("lastLogin", ["Root", "100% real", "zoe", "Ünal", "Борис"]),
    ],
)
def test_accounts_are_sorted_by_page_and_by_cursor(client: Client, crowd: Signin, sort: str, names: list[str]) -> None:
    headers = bearer(crowd)
    assert people(client, crowd, f"?sort={sort}") == names
    assert people(client, crowd, f"?sort={sort}&limit=2&page=2") == names[2:4]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(f"/api/admin/users?sort={sort}&limit=2&cursor={cursor}", headers=headers).json
        found += [user["name"] for user in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
    assert found == names


def test_names_are_sorted_without_case(client: Client, admin: Signin, register: Register) -> None:
    for number, name in enumerate(("beta", "Alpha", "Gamma")):
        register(name=name, email=f"x{number}@example.net")
    assert people(client, admin, "?sort=name") == ["Alpha", "beta", "Gamma", "Root"]


def test_an_account_shows_what_admins_need(client: Client, admin: Signin) -> None:
    answer = client.get("/api/admin/users", headers=bearer(admin)).json
    (user,) = answer["data"]
    assert user == admin["user"] | {"status": "active"}
    assert user["lastLogin"]
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsExact"]) == (1, True)
    assert client.get("/api/users", headers=bearer(admin)).json == answer


@pytest.mark.parametrize("query", ["?sort=email", "?status=gone", "?role=king", "?nonsense=1", "?limit=101"])
def test_a_bad_query_is_refused(client: Client, admin: Signin, query: str) -> None:
    for path in ("/api/admin/users", "/api/users"):
        assert_problem(client.get(path + query, headers=bearer(admin)), 400, "VALIDATION_ERROR")


def test_suspending_ends_tokens_and_sessions(client: Client, admin: Signin, register: Register) -> None:
    signin = register()
    user_id = signin["user"]["id"]
    assert give(client, admin, user_id, status="suspended").json["data"]["status"] == "suspended"
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    refreshed = client.post("/api/auth/refresh", json={"refreshToken": signin["refreshToken"]})
    assert_problem(refreshed, 401, "TOKEN_REVOKED")
    assert_problem(log_in(client), 403, "ACCOUNT_SUSPENDED")
    assert facts("user.suspended", "session.revoked") == [
        ("user.suspended", user_id),
        ("session.revoked", session_of(signin)),
    ]
    assert give(client, admin, user_id, status="active").status_code == 200
    assert log_in(client).status_code == 200
    kinds = [e.kind for e in AuditEvent.select().where(AuditEvent.user_id == user_id).order_by(AuditEvent.created_at)]
    assert kinds == ["registered", "suspended", "login_failed", "reinstated", "login"]


def test_another_role_ends_tokens_and_counts_from_the_next_one(
    client: Client, admin: Signin, register: Register
) -> None:
    signin = register()
    user_id = signin["user"]["id"]
    assert give(client, admin, user_id, role="moderator").json["data"]["role"] == "moderator"
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    renewed = client.post("/api/auth/refresh", json={"refreshToken": signin["refreshToken"]}).json["data"]
    assert renewed["user"]["role"] == "moderator"
    assert client.get("/api/auth/me", headers=bearer(renewed)).status_code == 200
    assert facts("user.role_changed") == [("user.role_changed", user_id)]
    event = AuditEvent.get(AuditEvent.kind == "role_changed")
    assert (event.actor_id, event.detail) == (admin["user"]["id"], '{"role":"moderator"}')
    told = Fact.get(Fact.type == "user.role_changed").data
    assert told == f'{{"role":"moderator","actorId":"{admin["user"]["id"]}"}}'


@pytest.mark.parametrize("continues", ["login", "refresh"])
def test_a_token_of_the_moment_of_a_change_does_not_keep_the_old_role(
    app: Flask, client: Client, admin: Signin, register: Register, monkeypatch: pytest.MonkeyPatch, continues: str
) -> None:
    """The role is taken away between the reading of the user and the signing of the token."""
    from services.auth.resources import signin as views

    signin = register()
    user_id = signin["user"]["id"]
    give(client, admin, user_id, role="moderator")
    issue = access_tokens.issue_access_token
    statuses: list[int] = []

    def taken_away_meanwhile(*details: Any) -> str:
        if not statuses:
            statuses.append(0)
            statuses.append(give(app.test_client(), admin, user_id, role="user").status_code)
        return issue(*details)

    monkeypatch.setattr(views, "issue_access_token", taken_away_meanwhile)
    if continues == "login":
        late = log_in(client).json["data"]
    else:
        late = client.post("/api/auth/refresh", json={"refreshToken": signin["refreshToken"]}).json["data"]
    assert statuses == [0, 200]
    assert_problem(client.get("/api/auth/me", headers=bearer(late)), 401, "TOKEN_REVOKED")


def test_a_login_does_not_outlive_a_suspension(
    client: Client, admin: Signin, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = register()["user"]["id"]
    check = accounts.check_password

    def suspended_meanwhile(email: str, password: str) -> User:
        user = check(email, password)
        give(client, admin, user_id, status="suspended")
        return user

    monkeypatch.setattr(accounts, "check_password", suspended_meanwhile)
    assert log_in(client).status_code in (401, 403)
    assert Session.select().where(Session.user == user_id, Session.revoked_at.is_null()).count() == 0


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("PATCH", "/api/admin/users/{id}", {"role": "user"}),
        ("PATCH", "/api/admin/users/{id}", {"status": "suspended"}),
        ("PATCH", "/api/users/{id}", {"role": "moderator"}),
        ("PUT", "/api/users/{id}", {"name": "Root", "email": "root@example.org"}),
        ("DELETE", "/api/users/{id}", None),
        ("DELETE", "/api/auth/me", {"password": PASSWORD}),
    ],
)
def test_the_last_admin_stays(
    client: Client, admin: Signin, register: Register, method: str, path: str, body: Any
) -> None:
    others = [register(email=f"x{number}@example.net")["user"]["id"] for number in range(2)]
    User.update(role="admin", status="suspended").where(User.id == others[0]).execute()
    User.update(role="admin", password_hash=NO_PASSWORD).where(User.id == others[1]).execute()
    path = path.format(id=admin["user"]["id"])
    assert_problem(client.open(path, method=method, json=body, headers=bearer(admin)), 409, "CONFLICT")
    assert client.get("/api/auth/me", headers=bearer(admin)).json["data"]["role"] == "admin"
    assert facts("user.role_changed", "user.suspended", "user.deleted") == []


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("PATCH", "/api/admin/users/{id}", {"role": "user"}),
        ("PATCH", "/api/users/{id}", {"email": "rot@example.org"}),
        ("PUT", "/api/users/{id}", {"name": "Root", "email": "rot@example.org", "role": "admin"}),
        ("DELETE", "/api/users/{id}", None),
        ("DELETE", "/api/auth/me", {"password": PASSWORD}),
    ],
)
def test_the_last_admin_who_can_sign_in_stays_where_addresses_are_verified(
    app: Flask, client: Client, admin: Signin, register: Register, method: str, path: str, body: Any
) -> None:
    other_id = register()["user"]["id"]
    give(client, admin, other_id, role="admin")
    service_of(app).add(replace(service_of(app).get(Config), email_verification="required"))
    path = path.format(id=admin["user"]["id"])
    assert_problem(client.open(path, method=method, json=body, headers=bearer(admin)), 409, "CONFLICT")
    User.update(email_verified=True).where(User.id == other_id).execute()
    assert client.open(path, method=method, json=body, headers=bearer(admin)).status_code in (200, 204)


def test_the_last_admin_may_write_the_address_in_another_way(app: Flask, client: Client, admin: Signin) -> None:
    service_of(app).add(replace(service_of(app).get(Config), email_verification="required"))
    path = f"/api/users/{admin['user']['id']}"
    answer = client.patch(path, json={"email": "Root@Example.org"}, headers=bearer(admin))
    assert answer.json["data"] | {"email": "Root@Example.org", "emailVerified": True} == answer.json["data"]


def test_an_account_without_an_address_of_its_own_gets_one(client: Client, admin: Signin, register: Register) -> None:
    """As an earlier version left accounts whose address another one has too."""
    user_id = register(email="n@bücher.example")["user"]["id"]
    User.update(email_folded=f"TAKEN:{user_id}").where(User.id == user_id).execute()
    assert log_in(client, "n@bücher.example").status_code == log_in(client, f"TAKEN:{user_id}").status_code == 401
    body = {"email": "n@bücher.example"}
    assert client.patch(f"/api/users/{user_id}", json=body, headers=bearer(admin)).status_code == 200
    assert log_in(client, "n@xn--bcher-kva.example").status_code == 200


@pytest.mark.parametrize("how", ["demote", "suspend", "delete"])
def test_of_two_admins_at_each_other_one_remains(
    app: Flask, client: Client, admin: Signin, register: Register, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Both have had their tokens checked before either writes, so that only the database decides."""
    other_id = register()["user"]["id"]
    give(client, admin, other_id, role="admin")
    other = log_in(client).json["data"]
    meet = threading.Barrier(2, timeout=30)
    statuses: list[int] = []

    def after_both_were_checked() -> datetime:
        meet.wait(5)
        return clock.now()

    def attack(by: Signin, user_id: str) -> None:
        path = f"/api/users/{user_id}" if how == "delete" else f"/api/admin/users/{user_id}"
        method, change = {
            "demote": ("PATCH", {"role": "user"}),
            "suspend": ("PATCH", {"status": "suspended"}),
            "delete": ("DELETE", None),
        }[how]
        answer = app.test_client().open(path, method=method, json=change, headers=bearer(by))
        statuses.append(answer.status_code)

    monkeypatch.setattr(users, "clock", SimpleNamespace(now=after_both_were_checked))
    run_at_once(lambda: attack(admin, other_id), lambda: attack(other, admin["user"]["id"]))
    assert sorted(statuses) == [204 if how == "delete" else 200, 409]
    assert User.select().where(User.acts_as_admin(verified=False)).count() == 1
