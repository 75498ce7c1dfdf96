from typing import Any

import pytest

from services.auth.models import Fact, User
from shared.ids import new_id
from tests.auth.conftest import Client, Register, bearer
from tests.helpers import assert_problem


def test_a_change_is_kept_and_told(client: Client, register: Register) -> None:
    signin = register()
    change = {"name": "Anna", "bio": "Two\nlines", "avatar": new_id()}
    answer = client.patch("/api/auth/me", json=change, headers=bearer(signin))
    assert answer.status_code == 200
    assert answer.json["data"] == signin["user"] | change
    fact = Fact.select().order_by(Fact.id.desc()).get()
    assert (fact.type, fact.subject) == ("user.updated", signin["user"]["id"])
    assert '"name":"Anna"' in fact.data


def test_what_is_not_named_stays_and_null_clears(client: Client, register: Register) -> None:
    headers = bearer(register())
    client.patch("/api/auth/me", json={"bio": "Something"}, headers=headers)
    assert client.patch("/api/auth/me", json={"name": "Anna"}, headers=headers).json["data"]["bio"] == "Something"
    assert client.patch("/api/auth/me", json={"bio": None}, headers=headers).json["data"]["bio"] is None


@pytest.mark.parametrize(
    "change", [{"name": "A"}, {"avatar": "x"}, {"bio": "b" * 501}, {"role": "admin"}, {"name": None}]
)
def test_a_bad_change_changes_nothing(client: Client, register: Register, change: dict[str, Any]) -> None:
    signin = register()
    answer = client.patch("/api/auth/me", json=change, headers=bearer(signin))
    assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == list(change)
    assert client.get("/api/auth/me", headers=bearer(signin)).json["data"] == signin["user"]


def test_an_edit_on_an_old_version_is_refused(client: Client, register: Register) -> None:
    headers = bearer(register())
    seen = client.get("/api/auth/me", headers=headers).headers["ETag"]
    first = client.patch("/api/auth/me", json={"name": "First"}, headers=headers | {"If-Match": seen})
    second = client.patch("/api/auth/me", json={"name": "Second"}, headers=headers | {"If-Match": seen})
    assert first.status_code == 200
    assert list(assert_problem(second, 412, "PRECONDITION_FAILED")["errors"]) == ["name"]
    assert second.headers["ETag"] == first.headers["ETag"]
    assert client.get("/api/auth/me", headers=headers).json["data"]["name"] == "First"


@pytest.mark.parametrize("change", [{}, {"name": "Ann"}, {"name": " Ann ", "bio": None, "avatar": None}])
def test_a_change_that_changes_nothing_is_no_edit(client: Client, register: Register, change: dict[str, Any]) -> None:
    headers = bearer(register())
    seen = client.get("/api/auth/me", headers=headers).headers["ETag"]
    answer = client.patch("/api/auth/me", json=change, headers=headers)
    assert (answer.status_code, answer.headers["ETag"]) == (200, seen)
    assert [fact.type for fact in Fact.select()] == ["user.registered"]


def test_a_known_tag_is_answered_with_304(client: Client, register: Register) -> None:
    headers = bearer(register())
    seen = client.get("/api/auth/me", headers=headers).headers["ETag"]
    assert client.get("/api/auth/me", headers=headers | {"If-None-Match": seen}).status_code == 304


def test_strangers_and_deleted_users_have_no_account(client: Client, register: Register) -> None:
    signin = register()
    User.delete().where(User.id == signin["user"]["id"]).execute()
    assert_problem(client.get("/api/auth/me"), 401, "UNAUTHORIZED")
    assert_problem(client.get("/api/auth/me", headers=bearer(signin)), 401, "UNAUTHORIZED")
