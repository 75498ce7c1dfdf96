"""Routes that hash a password wait for a place; what needs no hash does not."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request

from services.auth import passwords
from shared.service import service_of
from tests.auth.conftest import PASSWORD, Client, Register, account, bearer, log_in
from tests.auth.mailbox import answer_requests, last_token
from tests.helpers import assert_problem


@pytest.fixture
def hashing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the views that have hashed."""
    seen: set[str] = set()

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def note(*args: Any) -> Any:
            seen.add(str(request.endpoint))
            return function(*args)

        return note

    for name in ("hash_password", "matches"):
        monkeypatch.setattr(passwords, name, noting(getattr(passwords, name)))
    return seen


def test_every_view_that_hashes_waits_for_a_place(
    app: Flask, client: Client, admin: dict[str, Any], hashing: set[str]
) -> None:
    ann = client.post("/api/auth/register", json=account()).json["data"]
    ann = log_in(client).json["data"]
    change = {"oldPassword": PASSWORD, "newPassword": "another secret"}
    client.put("/api/auth/me/password", json=change, headers=bearer(ann))
    person = account(email="bob@example.org")
    bob = client.post("/api/users", json=person, headers=bearer(admin)).json["data"]["id"]
    client.put(f"/api/users/{bob}", json=person, headers=bearer(admin))
    client.patch(f"/api/users/{bob}", json={"password": "another secret"}, headers=bearer(admin))
    client.post("/api/auth/forgot-password", json={"email": "bob@example.org"})
    answer_requests(client)
    reset = {"token": last_token("reset"), "password": "a third secret"}
    assert client.post("/api/auth/reset-password", json=reset).status_code == 204
    client.delete("/api/auth/me", json={"password": "another secret"}, headers=bearer(ann))
    expensive = {name for name, view in app.view_functions.items() if getattr(view, "expensive", False)}
    assert hashing == expensive


def test_a_taken_address_costs_no_hash(client: Client, register: Register, hashing: set[str]) -> None:
    register()
    hashing.clear()
    answer = client.post("/api/auth/register", json=account(email="ANN@example.org"))
    assert_problem(answer, 409, "EMAIL_TAKEN")
    assert hashing == set()


def test_of_an_address_two_requests_hash_at_a_time(app: Flask) -> None:
    places = passwords.hashing_places(8)
    assert (places.patience, passwords.PLACES_OF_ADDRESS) == (7.0, 2)
    admission = service_of(app).admission
    assert admission
    assert admission.concerns(b"POST /api/auth/login HTTP/1.1\r\n\r\n")
