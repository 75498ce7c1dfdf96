import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services.auth import sessions
from services.auth.models import Fact, RefreshToken, Session, User, database
from shared import clock
from shared.database import disk_reserve
from tests.auth.conftest import PASSWORD, Client, Register, bearer
from tests.conftest import FrozenClock
from tests.helpers import assert_problem


def refresh(client: Client, token: str) -> Any:
    return client.post("/api/auth/refresh", json={"refreshToken": token})


def test_a_refresh_token_is_replaced(client: Client, register: Register) -> None:
    signin = register()
    answer = refresh(client, signin["refreshToken"])
    renewed = answer.json["data"]
    assert answer.status_code == 200
    assert renewed["user"] == signin["user"]
    assert renewed["refreshToken"] != signin["refreshToken"]
    assert client.get("/api/auth/me", headers=bearer(renewed)).status_code == 200
    assert refresh(client, renewed["refreshToken"]).status_code == 200


def test_only_hashes_are_stored(client: Client, register: Register) -> None:
    token = register()["refreshToken"]
    refresh(client, token)
    stored = repr([(bytes(row.hash), bytes(row.successor or b"")) for row in RefreshToken.select()])
    assert token not in stored
    assert PASSWORD not in User.get().password_hash


def test_shown_again_at_once_it_gives_the_same_successor(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    token = register()["refreshToken"]
    first = refresh(client, token).json["data"]["refreshToken"]
    frozen_clock.advance(seconds=29)
    assert refresh(client, token).json["data"]["refreshToken"] == first


def test_shown_again_later_it_ends_the_session(client: Client, register: Register, frozen_clock: FrozenClock) -> None:
    signin = register()
    successor = refresh(client, signin["refreshToken"]).json["data"]["refreshToken"]
    frozen_clock.advance(seconds=31)
    assert_problem(refresh(client, signin["refreshToken"]), 401, "TOKEN_REVOKED")
    assert_problem(refresh(client, successor), 401, "TOKEN_REVOKED")
    fact = Fact.select().where(Fact.type == "session.revoked").get()
    assert fact.subject == Session.get().id


def test_a_refresh_that_waited_for_the_lock_begins_its_grace_when_it_has_it(
    client: Client, register: Register, frozen_clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, locked = register()["refreshToken"], sessions._locked

    def wait_and_lock(session: Session) -> User:
        user = locked(session)
        frozen_clock.advance(seconds=40)
        return user

    monkeypatch.setattr(sessions, "_locked", wait_and_lock)
    first = refresh(client, token).json["data"]["refreshToken"]
    again = refresh(client, token)
    assert (again.status_code, again.json["data"]["refreshToken"]) == (200, first)


def test_one_older_than_the_previous_ends_the_session_at_once(client: Client, register: Register) -> None:
    first = register()["refreshToken"]
    second = refresh(client, first).json["data"]["refreshToken"]
    third = refresh(client, second).json["data"]["refreshToken"]
    assert_problem(refresh(client, first), 401, "TOKEN_REVOKED")
    assert_problem(refresh(client, third), 401, "TOKEN_REVOKED")


def test_other_devices_stay_signed_in_after_a_theft(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    stolen = register()["refreshToken"]
    body = {"email": "ann@example.org", "password": PASSWORD}
    other = client.post("/api/auth/login", json=body).json["data"]["refreshToken"]
    refresh(client, stolen)
    frozen_clock.advance(seconds=31)
    refresh(client, stolen)
    assert refresh(client, other).status_code == 200


def test_racing_refreshes_get_one_successor(app: Flask, register: Register) -> None:
    token = register()["refreshToken"]
    successors: list[str] = []

    def run() -> None:
        try:
            successors.append(refresh(app.test_client(), token).json["data"]["refreshToken"])
        finally:
            database.close()

    threads = [threading.Thread(target=run) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(successors) == 10
    assert len(set(successors)) == 1
    assert RefreshToken.select().count() == 2


@pytest.mark.parametrize("token", ["x", "A" * 43, "!" * 43, "é" * 43, "A" * 42 + "B"])
def test_a_token_that_is_none_is_refused(client: Client, register: Register, token: str) -> None:
    register()
    assert_problem(refresh(client, token), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("remember, lasts", [(False, timedelta(days=1)), (True, timedelta(days=7))])
def test_a_token_lasts_as_long_as_was_wished(
    client: Client, register: Register, frozen_clock: FrozenClock, remember: bool, lasts: timedelta
) -> None:
    register()
    body = {"email": "ann@example.org", "password": PASSWORD, "rememberMe": remember}
    token = client.post("/api/auth/login", json=body).json["data"]["refreshToken"]
    frozen_clock.moment += lasts - timedelta(seconds=1)
    token = refresh(client, token).json["data"]["refreshToken"]
    frozen_clock.moment += lasts
    assert_problem(refresh(client, token), 401, "TOKEN_EXPIRED")


@pytest.mark.parametrize("remember, days", [(False, 7), (True, 30)])
def test_a_session_ends_however_often_it_is_refreshed(
    client: Client, register: Register, frozen_clock: FrozenClock, remember: bool, days: int
) -> None:
    register()
    body = {"email": "ann@example.org", "password": PASSWORD, "rememberMe": remember}
    token = client.post("/api/auth/login", json=body).json["data"]["refreshToken"]
    for _ in range(2 * days - 1):
        frozen_clock.advance(hours=12)
        token = refresh(client, token).json["data"]["refreshToken"]
    frozen_clock.advance(hours=12)
    assert_problem(refresh(client, token), 401, "TOKEN_EXPIRED")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_refresh_loses_against_a_logout_in_between(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, replace = register()["refreshToken"], sessions._replace

    def end_session() -> None:
        with database.atomic():
            Session.end(Session.get().id, clock.now())
        database.close()

    def log_out_and_replace(*args: Any) -> bytes | None:
        thread = threading.Thread(target=end_session)
        thread.start()
        thread.join()
        return replace(*args)

    monkeypatch.setattr(sessions, "_replace", log_out_and_replace)
    assert_problem(refresh(client, token), 401, "TOKEN_REVOKED")
    assert RefreshToken.select().count() == 1


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_refresh_loses_against_a_deletion_in_between(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, locked = register()["refreshToken"], sessions._locked

    def delete_user() -> None:
        User.delete().execute()
        database.close()

    def delete_and_lock(*args: Any) -> User:
        thread = threading.Thread(target=delete_user)
        thread.start()
        thread.join()
        return locked(*args)

    monkeypatch.setattr(sessions, "_locked", delete_and_lock)
    assert_problem(refresh(client, token), 401, "TOKEN_REVOKED")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xef\xbb\xbf{}", b"\xef\xbb\xbfnull"])
def test_logout_ends_the_session_at_once(client: Client, register: Register, body: bytes) -> None:
    signin = register()
    kind = "application/json" if body else None
    answer = client.post("/api/auth/logout", data=body, content_type=kind, headers=bearer(signin))
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
    assert_problem(refresh(client, signin["refreshToken"]), 401, "TOKEN_REVOKED")
    assert [fact.subject for fact in Fact.select().where(Fact.type == "session.revoked")] == [Session.get().id]


def test_a_suspended_user_cannot_refresh(client: Client, register: Register) -> None:
    signin = register()
    User.update(status="suspended").execute()
    assert_problem(refresh(client, signin["refreshToken"]), 403, "ACCOUNT_SUSPENDED")


@pytest.mark.parametrize("path", ["login", "refresh"])
def test_on_a_full_disk_one_signs_in_by_the_reserve(
    app: Flask, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """To delete something, and so make room, a user needs a living access token."""
    signin = register()
    app._got_first_request = False  # it is added by `create_app` outside tests
    disk_reserve.init_app(app, tmp_path)
    monkeypatch.setattr(disk_reserve, "free_bytes", lambda _folder: 0)
    login = {"email": signin["user"]["email"], "password": PASSWORD}
    body = login if path == "login" else {"refreshToken": signin["refreshToken"]}
    assert app.test_client().post(f"/api/auth/{path}", json=body).status_code == 200
    assert (tmp_path / "disk-reserve").stat().st_size == disk_reserve.FOR_DELETIONS
