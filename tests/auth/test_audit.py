from typing import Any

import pytest

from services.auth import accounts, audit_log
from services.auth.models import AuditEvent, Fact, User, database
from tests.auth.conftest import Client, Register, account, bearer, log_in
from tests.conftest import FrozenClock
from tests.helpers import assert_problem

Signin = dict[str, Any]


def events(client: Client, admin: Signin, query: str = "") -> Any:
    return client.get(f"/api/admin/audit{query}", headers=bearer(admin)).json


def test_an_event_says_who_what_when_from_where(client: Client, admin: Signin, register: Register) -> None:
    user_id = register()["user"]["id"]
    headers = bearer(admin) | {"X-Request-ID": "the-request", "X-Forwarded-For": "203.0.113.9"}
    client.patch(f"/api/admin/users/{user_id}", json={"role": "moderator"}, headers=headers)
    first = events(client, admin)["data"][0]
    assert first.keys() == {"id", "kind", "userId", "actorId", "address", "requestId", "createdAt", "detail"}
    assert (first["kind"], first["userId"], first["actorId"]) == ("role_changed", user_id, admin["user"]["id"])
    assert (first["address"], first["requestId"]) == ("203.0.113.9", "the-request")
    assert first["detail"] == {"role": "moderator"}


def test_events_are_filtered_and_paged(client: Client, admin: Signin, register: Register) -> None:
    user_id = register()["user"]["id"]
    log_in(client)
    log_in(client, password="a wrong secret")
    log_in(client, "nobody@example.org")
    listed = [(event["kind"], event["userId"]) for event in events(client, admin)["data"]]
    root = admin["user"]["id"]
    assert listed == [
        ("login_failed", None),
        ("login_failed", user_id),
        ("login", user_id),
        ("registered", user_id),
        ("login", root),
        ("registered", root),
    ]
    failed = events(client, admin, "?kind=login_failed")
    assert [event["userId"] for event in failed["data"]] == [None, user_id]
    assert failed["pagination"]["total"] == 2
    assert len(events(client, admin, f"?user={user_id}&kind=login")["data"]) == 1
    first = events(client, admin, "?limit=4")
    assert (first["pagination"]["total"], first["pagination"]["hasMore"]) == (6, True)
    rest = events(client, admin, f"?limit=4&cursor={first['pagination']['nextCursor']}")
    assert [event["kind"] for event in rest["data"]] == ["login", "registered"]


def test_no_event_holds_a_password_or_an_address(client: Client, register: Register) -> None:
    register()
    log_in(client, "typed by mistake", "a wrong secret")
    kept = repr([event.__data__ for event in AuditEvent.select()])
    assert not [secret for secret in ("example.org", "mistake", "secret") if secret in kept]


def test_a_stolen_refresh_token_is_noted(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    signin = register()
    for seconds in (0, 31):
        frozen_clock.advance(seconds=seconds)
        client.post("/api/auth/refresh", json={"refreshToken": signin["refreshToken"]})
    event = AuditEvent.get(AuditEvent.kind == "refresh_reused")
    assert (event.user_id, event.actor_id) == (signin["user"]["id"], None)


def test_a_logout_is_noted_once(client: Client, register: Register) -> None:
    signin = register()
    client.post("/api/auth/logout", headers=bearer(signin))
    client.post("/api/auth/logout", headers=bearer(signin))
    assert [e.actor_id for e in AuditEvent.select().where(AuditEvent.kind == "logout")] == [signin["user"]["id"]]


def test_what_did_not_happen_is_not_noted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError

    monkeypatch.setattr("services.auth.resources.signin.audit", fail)
    assert_problem(client.post("/api/auth/register", json=account()), 500, "INTERNAL_ERROR")
    assert (User.select().count(), Fact.select().count(), AuditEvent.select().count()) == (0, 0, 0)


def test_a_command_has_neither_address_nor_request(client: Client) -> None:
    with database.atomic():
        user = accounts.register("Ann", "ann@example.org", "!")
        audit_log.audit("suspended", user.id, why="a test")
    event = AuditEvent.get()
    assert (event.actor_id, event.address, event.request_id, event.detail) == (None, "", "", '{"why":"a test"}')
