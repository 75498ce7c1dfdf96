"""Who sees a private file: made public and private again, and by links that expire."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from services.uploads.signed_urls import Signer
from shared.ids import new_id
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers

UploadFile = Callable[..., dict[str, Any]]
WEEK = 604_800


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


@pytest.fixture
def private(upload: UploadFile) -> dict[str, Any]:
    return upload(private="true")


def link(client: Client, upload: dict[str, Any], headers: Headers, expires_in: Any = 60) -> dict[str, str]:
    """Return the query of a link."""
    answer = client.post(f"/api/uploads/{upload['id']}/sign", json={"expiresIn": expires_in}, headers=headers)
    assert answer.status_code == 200, answer.text
    url = answer.json["data"]["url"]
    assert url.startswith(f"http://localhost:8000/api/files/by-id/{upload['id']}?")
    return dict(parse_qsl(urlsplit(url).query))


def paths(upload: dict[str, Any]) -> list[str]:
    return [f"/api/files/by-id/{upload['id']}", upload["path"]]


def test_a_link_shows_the_file_to_anybody(client: Client, private: dict[str, Any], ann: Headers, bob: Headers) -> None:
    query = urlencode(link(client, private, ann))
    for path in paths(private):
        for headers in ({}, bob):
            answer = client.get(f"{path}?{query}", headers=headers)
            assert (answer.status_code, answer.data) == (200, samples.png())
            assert answer.headers["Cache-Control"] == "private, no-store"
        assert client.head(f"{path}?{query}&download=1").status_code == 200
        assert_problem(client.get(path), 404, "NOT_FOUND")


def test_a_link_expires(frozen_clock: FrozenClock, client: Client, private: dict[str, Any], ann: Headers) -> None:
    query = urlencode(link(client, private, ann, WEEK))
    for path in paths(private):
        assert client.get(f"{path}?{query}").status_code == 200
    frozen_clock.advance(seconds=WEEK)
    for path in paths(private):
        assert_problem(client.get(f"{path}?{query}"), 403, "LINK_EXPIRED")


ALTERED: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "a later moment": lambda query: query | {"expires": str(int(query["expires"]) + 1)},
    "a moment that is no number": lambda query: query | {"expires": "never"},
    "a moment in other digits": lambda query: query | {"expires": "٣"},
    "another signature": lambda query: query | {"signature": "A" + query["signature"][:-1]},
    "a signature in other letters": lambda query: query | {"signature": "é"},
    "no signature": lambda query: {"expires": query["expires"]},
    "no moment": lambda query: {"signature": query["signature"]},
}


@on_sqlite
@pytest.mark.parametrize("case", ALTERED)
def test_an_altered_link_shows_nothing(client: Client, private: dict[str, Any], ann: Headers, case: str) -> None:
    query = urlencode(ALTERED[case](link(client, private, ann)))
    for path in paths(private):
        assert_problem(client.get(f"{path}?{query}"), 403, "LINK_EXPIRED")


def test_a_link_is_for_one_file(client: Client, upload: UploadFile, private: dict[str, Any], ann: Headers) -> None:
    query = urlencode(link(client, private, ann))
    for path in paths(upload(private="true")):
        assert_problem(client.get(f"{path}?{query}"), 403, "LINK_EXPIRED")


def test_a_wrong_link_does_not_tell_whether_there_is_a_file(client: Client, private: dict[str, Any]) -> None:
    query = "expires=9999999999&signature=x"
    nowhere = (f"/api/files/by-id/{new_id()}", f"/api/files/{private['userId']}/nothing.png")
    for path in (*paths(private), *nowhere):
        assert_problem(client.get(f"{path}?{query}"), 403, "LINK_EXPIRED")


def test_another_secret_makes_other_links() -> None:
    upload_id = new_id()
    first, second = (Signer(secret).sign(upload_id, 60).signature for secret in ("one", "two"))
    assert first != second


@on_sqlite
@pytest.mark.parametrize("seconds", [0, -1, WEEK + 1, 1.5, "60", True, None])
def test_a_link_has_a_bounded_life(client: Client, private: dict[str, Any], ann: Headers, seconds: Any) -> None:
    answer = client.post(f"/api/uploads/{private['id']}/sign", json={"expiresIn": seconds}, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"expiresIn"}


def test_only_the_owner_makes_links(
    client: Client, private: dict[str, Any], ann: Headers, bob: Headers, admin: Headers
) -> None:
    path = f"/api/uploads/{private['id']}/sign"
    expected: list[tuple[Headers, int, str]] = [
        ({}, 401, "UNAUTHORIZED"),
        (bob, 404, "NOT_FOUND"),
        (admin, 403, "FORBIDDEN"),
    ]
    for headers, status, code in expected:
        assert_problem(client.post(path, json={"expiresIn": 5}, headers=headers), status, code)
    assert_problem(client.post(f"/api/uploads/{new_id()}/sign", json={"expiresIn": 5}, headers=ann), 404, "NOT_FOUND")


@pytest.mark.parametrize("who", ["ann", "admin"])
def test_a_file_is_made_private_and_public_again(
    request: pytest.FixtureRequest, client: Client, upload: UploadFile, who: str
) -> None:
    stored, headers = upload(), request.getfixturevalue(who)
    path = f"/api/uploads/{stored['id']}"
    for private, status in ((True, 404), (False, 200)):
        answer = client.patch(path, json={"private": private}, headers=headers)
        assert (answer.status_code, answer.json["data"]) == (200, stored | {"private": private})
        assert answer.headers["ETag"] == client.get(path, headers=headers).headers["ETag"]
        assert client.get(stored["path"]).status_code == status


def test_a_change_minds_if_match(client: Client, upload: UploadFile, ann: Headers) -> None:
    path = f"/api/uploads/{upload()['id']}"
    tag = client.get(path, headers=ann).headers["ETag"]
    assert client.patch(path, json={"private": True}, headers=ann | {"If-Match": tag}).status_code == 200
    refused = client.patch(path, json={"private": False}, headers=ann | {"If-Match": tag})
    assert set(assert_problem(refused, 412, "PRECONDITION_FAILED")["errors"]) == {"private"}
    again = refused.headers["ETag"]
    assert client.patch(path, json={"private": True}, headers=ann | {"If-Match": again}).headers["ETag"] == again


@on_sqlite
@pytest.mark.parametrize("body", [{}, {"private": "true"}, {"private": None}, {"private": True, "filename": "x"}, []])
def test_a_change_that_is_none_is_refused(client: Client, upload: UploadFile, ann: Headers, body: Any) -> None:
    answer = client.patch(f"/api/uploads/{upload()['id']}", json=body, headers=ann)
    assert_problem(answer, 400, "VALIDATION_ERROR")


def test_somebody_else_changes_nothing(client: Client, upload: UploadFile, bob: Headers) -> None:
    path = f"/api/uploads/{upload()['id']}"
    assert_problem(client.patch(path, json={"private": True}, headers=bob), 403, "FORBIDDEN")
    assert_problem(client.patch(path, json={"private": True}), 401, "UNAUTHORIZED")
