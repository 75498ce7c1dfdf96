from typing import Any

import pytest

from services.auth.models import AuditEvent, Fact, Session
from shared.ids import new_id
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer, log_in, session_of
from tests.conftest import FrozenClock
from tests.helpers import assert_problem


def listed(client: Client, signin: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/api/auth/sessions", headers=bearer(signin)).json["data"]
    return items


def test_one_sees_where_one_is_signed_in(client: Client, register: Register) -> None:
    register(email="bob@example.org")
    signin = register()
    body = {"email": "ann@example.org", "password": PASSWORD}
    agent = {"User-Agent": "Phone", "X-Forwarded-For": "203.0.113.7"}
    phone = client.post("/api/auth/login", json=body, headers=agent).json["data"]
    first, second = listed(client, signin)
    assert first.keys() == {"id", "current", "userAgent", "address", "createdAt", "lastUsedAt"}
    assert (first["id"], first["current"]) == (session_of(phone), False)
    assert (first["userAgent"], first["address"]) == ("Phone", "203.0.113.7")
    assert (second["id"], second["current"]) == (session_of(signin), True)
    assert second["address"] == "127.0.0.1"


def test_sessions_that_cannot_be_continued_are_not_listed(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    register()
    body = {"email": "ann@example.org", "password": PASSWORD, "rememberMe": True}
    remembered = client.post("/api/auth/login", json=body).json["data"]
    frozen_clock.advance(hours=25)
    now = client.post("/api/auth/refresh", json={"refreshToken": remembered["refreshToken"]}).json["data"]
    assert [item["id"] for item in listed(client, now)] == [session_of(remembered)]


def test_one_session_is_ended_and_told(client: Client, register: Register) -> None:
    here = register()
    there = log_in(client).json["data"]
    answer = client.delete(f"/api/auth/sessions/{session_of(there)}", headers=bearer(here))
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get("/api/auth/me", headers=bearer(there)), 401, "TOKEN_REVOKED")
    refreshed = client.post("/api/auth/refresh", json={"refreshToken": there["refreshToken"]})
    assert_problem(refreshed, 401, "TOKEN_REVOKED")
    assert client.get("/api/auth/me", headers=bearer(here)).status_code == 200
    assert [fact.subject for fact in Fact.select().where(Fact.type == "session.revoked")] == [session_of(there)]
    assert AuditEvent.get(AuditEvent.kind == "session_revoked").actor_id == here["user"]["id"]
    again = client.delete(f"/api/auth/sessions/{session_of(there)}", headers=bearer(here))
    assert_problem(again, 404, "NOT_FOUND")


@pytest.mark.parametrize("whose", ["somebody else's", "nobody's", "no id"])
def test_what_is_not_ones_own_is_not_found(client: Client, register: Register, whose: str) -> None:
    signin, other = register(), register(email="bob@example.org")
    session_id = {"somebody else's": session_of(other), "nobody's": new_id(), "no id": "x"}[whose]
    answer = client.delete(f"/api/auth/sessions/{session_id}", headers=bearer(signin))
    assert_problem(answer, 404, "NOT_FOUND")
    assert client.get("/api/auth/me", headers=bearer(other)).status_code == 200


def test_logout_all_ends_every_session_of_that_user_only(client: Client, register: Register) -> None:
    other = register(email="bob@example.org")
    here = register()
    there = log_in(client).json["data"]
    assert client.post("/api/auth/logout-all", headers=bearer(here)).status_code == 204
    for signin in (here, there):
        assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    facts = {fact.subject for fact in Fact.select().where(Fact.type == "session.revoked")}
    assert facts == {session_of(here), session_of(there)}
    assert client.get("/api/auth/me", headers=bearer(other)).status_code == 200
    assert Session.select().where(Session.revoked_at.is_null()).count() == 1


@pytest.mark.parametrize(
    "peer, forwarded, seen",
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("8.8.8.8", "203.0.113.7", "8.8.8.8"),
    ],
)
def test_the_address_is_the_gateways_word_or_the_peer(client: Client, peer: str, forwarded: str, seen: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    client.post("/api/auth/register", json=account(), headers=headers, environ_base={"REMOTE_ADDR": peer})
    assert Session.get().address == AuditEvent.get().address == seen
