from typing import Any

import pytest

from services.auth.models import NO_PASSWORD, AuditEvent, Profile, User
from shared.ids import new_id
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer, facts, log_in, session_of
from tests.helpers import assert_problem

Signin = dict[str, Any]


def make(client: Client, admin: Signin, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    return client.post("/api/users", json=account(**changes), headers=bearer(admin) | (headers or {}))


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/api/users"),
        ("POST", "/api/users"),
        ("PUT", "/api/users/{id}"),
        ("PATCH", "/api/users/{id}"),
        ("DELETE", "/api/users/{id}"),
        ("GET", "/api/admin/users"),
        ("PATCH", "/api/admin/users/{id}"),
        ("GET", "/api/admin/audit"),
    ],
)
def test_only_admins_administrate(client: Client, register: Register, method: str, path: str) -> None:
    signin = register()
    path = path.format(id=signin["user"]["id"])
    body: Signin | None = None if method == "GET" else {}
    assert_problem(client.open(path, method=method, json=body), 401, "UNAUTHORIZED")
    assert_problem(client.open(path, method=method, json=body, headers=bearer(signin)), 403, "FORBIDDEN")
    User.update(role="moderator").execute()
    moderator = log_in(client).json["data"]
    assert_problem(client.open(path, method=method, json=body, headers=bearer(moderator)), 403, "FORBIDDEN")


def test_an_admin_makes_an_account(client: Client, admin: Signin) -> None:
    answer = make(client, admin, role="moderator")
    user = answer.json["data"]
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/api/users/{user['id']}")
    assert user.keys() == admin["user"].keys() | {"status"}
    assert (user["role"], user["status"], user["emailVerified"]) == ("moderator", "pending", False)
    assert log_in(client).json["data"]["user"]["role"] == "moderator"
    assert client.get(answer.headers["Location"]).json["data"]["name"] == "Ann"
    assert ("user.registered", user["id"]) in facts("user.registered")
    assert Profile.select().where(Profile.user == user["id"]).count() == 1
    event = AuditEvent.get(AuditEvent.kind == "user_created")
    assert (event.user_id, event.actor_id, event.detail) == (user["id"], admin["user"]["id"], '{"role":"moderator"}')


def test_without_a_password_the_user_is_invited_and_cannot_sign_in(
    client: Client, admin: Signin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.auth import account_mail

    invited: list[str] = []
    monkeypatch.setattr(account_mail, "invite", lambda user: invited.append(user.id))
    body = {"name": "Ann", "email": "ann@example.org"}
    user = client.post("/api/users", json=body, headers=bearer(admin)).json["data"]
    assert invited == [user["id"]]
    for password in (PASSWORD, NO_PASSWORD, ""):
        assert_problem(log_in(client, password=password), 401, "INVALID_CREDENTIALS")


def test_a_repeated_request_makes_one_account(client: Client, admin: Signin) -> None:
    first = make(client, admin, {"Idempotency-Key": "once"})
    again = make(client, admin, {"Idempotency-Key": "once"})
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_problem(make(client, admin, {"Idempotency-Key": "once"}, name="Bob"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert User.select().count() == 2


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"name": "A"}, "name"),
        ({"email": "x"}, "email"),
        ({"password": "short"}, "password"),
        ({"role": "king"}, "role"),
    ],
)
def test_a_bad_field_is_named(client: Client, admin: Signin, changes: Signin, field: str) -> None:
    path = f"/api/users/{admin['user']['id']}"
    answers = [make(client, admin, **changes), client.patch(path, json=changes, headers=bearer(admin))]
    for answer in answers:
        assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == [field]


def test_a_taken_address_is_refused_in_every_form(client: Client, admin: Signin, register: Register) -> None:
    user_id = register()["user"]["id"]
    assert_problem(make(client, admin, email="ANN@example.org"), 409, "EMAIL_TAKEN")
    answer = client.patch(f"/api/users/{user_id}", json={"email": "Root@Example.org"}, headers=bearer(admin))
    assert_problem(answer, 409, "EMAIL_TAKEN")
    assert User.get_by_id(user_id).email == "ann@example.org"


def test_put_replaces_and_patch_changes_what_it_names(client: Client, admin: Signin, register: Register) -> None:
    user_id = register()["user"]["id"]
    path, headers = f"/api/users/{user_id}", bearer(admin)
    changed = client.patch(path, json={"role": "moderator"}, headers=headers).json["data"]
    assert (changed["name"], changed["role"]) == ("Ann", "moderator")
    replaced = client.put(path, json={"name": "Anna", "email": "anna@example.org"}, headers=headers).json["data"]
    assert (replaced["name"], replaced["email"], replaced["role"]) == ("Anna", "anna@example.org", "user")
    assert log_in(client, "anna@example.org").status_code == 200
    assert_problem(client.put(path, json={"name": "Anna"}, headers=headers), 400, "VALIDATION_ERROR")
    assert facts("user.role_changed", "user.updated")[:3] == [
        ("user.role_changed", user_id),
        ("user.updated", user_id),
        ("user.role_changed", user_id),
    ]


def test_a_change_of_nothing_is_none(client: Client, admin: Signin, register: Register) -> None:
    user_id = register()["user"]["id"]
    before = User.get_by_id(user_id).version
    answer = client.patch(f"/api/users/{user_id}", json={"name": "Ann", "role": "user"}, headers=bearer(admin))
    assert answer.status_code == 200
    assert User.get_by_id(user_id).version == before
    assert facts("user.role_changed", "user.updated") == []


def test_another_address_has_to_be_verified_again(client: Client, admin: Signin) -> None:
    path, headers = f"/api/users/{admin['user']['id']}", bearer(admin)
    same = client.patch(path, json={"email": "ROOT@example.org"}, headers=headers).json["data"]
    assert (same["email"], same["emailVerified"]) == ("ROOT@example.org", True)
    other = client.patch(path, json={"email": "other@example.org"}, headers=headers).json["data"]
    assert (other["emailVerified"], other["status"]) == (False, "pending")


def test_a_password_set_by_an_admin_ends_the_sessions(client: Client, admin: Signin, register: Register) -> None:
    signin = register()
    path = f"/api/users/{signin['user']['id']}"
    assert client.patch(path, json={"password": "from the admin"}, headers=bearer(admin)).status_code == 200
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    assert facts("session.revoked") == [("session.revoked", session_of(signin))]
    assert log_in(client, password="from the admin").status_code == 200


def test_an_edit_on_an_old_version_is_refused(client: Client, admin: Signin, register: Register) -> None:
    path, headers = f"/api/users/{register()['user']['id']}", bearer(admin)
    old = headers | {"If-Match": client.get(path).headers["ETag"]}
    assert client.patch(path, json={"name": "First"}, headers=old).status_code == 200
    problem = assert_problem(client.patch(path, json={"name": "Second"}, headers=old), 412, "PRECONDITION_FAILED")
    assert list(problem["errors"]) == ["name"]
    assert_problem(client.put(path, json=account(), headers=old), 412, "PRECONDITION_FAILED")
    refused = client.delete(path, headers=old)
    assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert refused.headers["ETag"] == client.get(path).headers["ETag"]
    assert client.delete(path, headers=headers | {"If-Match": refused.headers["ETag"]}).status_code == 204


def test_a_deleted_account_is_gone_and_told(client: Client, admin: Signin, register: Register) -> None:
    signin = register()
    path = f"/api/users/{signin['user']['id']}"
    answer = client.delete(path, headers=bearer(admin))
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.delete(path, headers=bearer(admin)), 404, "NOT_FOUND")
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    assert facts("user.deleted") == [("user.deleted", signin["user"]["id"])]
    event = AuditEvent.get(AuditEvent.kind == "user_deleted")
    assert (event.user_id, event.actor_id) == (signin["user"]["id"], admin["user"]["id"])


@pytest.mark.parametrize("user_id", ["x", "nobody"])
def test_an_unknown_account_is_a_404(client: Client, admin: Signin, user_id: str) -> None:
    path, headers = f"/api/users/{user_id if user_id == 'x' else new_id()}", bearer(admin)
    for answer in (
        client.put(path, json=account(), headers=headers),
        client.patch(path, json={}, headers=headers),
        client.delete(path, headers=headers),
        client.patch(path.replace("/users", "/admin/users"), json={}, headers=headers),
    ):
        assert_problem(answer, 404, "NOT_FOUND")
