"""ETag, If-None-Match and If-Match on single resources."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.helpers import assert_problem
from tests.shared.conftest import AsUser
from tests.shared.toys.models import Toy


@pytest.fixture
def toy(client: FlaskClient, ann: dict[str, str]) -> tuple[str, str]:
    """The address and the tag of a toy in its first version."""
    made = client.post("/api/toys", json={"name": "train", "price": 1}, headers=ann)
    return made.headers["Location"], made.headers["ETag"]


Place = tuple[str, str]


def test_the_tag_is_strong_and_the_same_for_the_same(client: FlaskClient, toy: Place) -> None:
    path, tag = toy
    first, second = client.get(path), client.get(path)
    assert first.headers["ETag"] == second.headers["ETag"] == tag
    assert tag.startswith('"1.')
    assert first.data == second.data


def test_the_tag_changes_with_every_byte_and_the_version_with_edits_only(client: FlaskClient, toy: Place) -> None:
    path, tag = toy
    Toy.update(price=2).execute()
    counted = client.get(path).headers["ETag"]
    assert counted != tag
    assert counted.startswith('"1.')


@pytest.mark.parametrize(
    "header, status",
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"other", {tag}', 304),
        ('"a,b",{tag},"c"', 304),
        ("*", 304),
        ('"other"', 200),
        ('"1"', 200),
        ('"1.0"', 200),
        ("{bare}", 304),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_compares_the_whole_tag(
    client: FlaskClient, toy: Place, method: str, header: str, status: int
) -> None:
    path, tag = toy
    headers = {"If-None-Match": header.format(tag=tag, bare=tag.strip('"'))}
    response = client.open(path, method=method, headers=headers)
    assert response.status_code == status
    assert response.headers["ETag"] == tag
    if status == 304:
        assert response.data == b""
        assert "Content-Type" not in response.headers


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"9.0", {tag}'}, 200),
        ({"If-Match": '"2.0"'}, 412),
        ({"If-Match": '"2.0"', "If-None-Match": "{tag}"}, 412),
        ({"If-Match": "{tag}", "If-None-Match": "{tag}"}, 304),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),  # it has no Last-Modified
        ({"If-Modified-Since": "Thu, 31 Dec 2099 00:00:00 GMT"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_of_a_read_are_taken_in_their_order(
    client: FlaskClient, toy: Place, method: str, headers: dict[str, str], status: int
) -> None:
    path, tag = toy
    response = client.open(path, method=method, headers={name: text.format(tag=tag) for name, text in headers.items()})
    assert (response.status_code, response.headers["ETag"]) == (status, tag)


@pytest.mark.parametrize("header, status", [("*", 412), ("{tag}", 412), ("W/{tag}", 412), ('"1.0"', 200)])
def test_a_write_may_want_another_state_than_one(
    client: FlaskClient, toy: Place, ann: dict[str, str], header: str, status: int
) -> None:
    path, tag = toy
    headers = ann | {"If-None-Match": header.format(tag=tag)}
    assert client.patch(path, json={"price": 2}, headers=headers).status_code == status


@pytest.mark.parametrize(
    "header, status",
    [
        (None, 200),
        ("*", 200),
        (" * ", 200),
        ("{tag}", 200),
        ('"1.0000000000000000"', 200),
        ('"1"', 200),
        ('"9.0", {tag}', 200),
        ("W/{tag}", 412),
        ('W/{tag}, "2.0"', 412),
        ('"2"', 412),
        ('"01.x"', 412),
        ('"1', 412),
        ('1"', 412),
        ("1", 412),
        ('"1.0" garbage', 412),
        ('"10.0"', 412),
        ('"-1"', 412),
        ('"١"', 412),
        ('""', 412),
        ("", 412),
        (f'"{"9" * 5000}"', 412),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_if_match_compares_the_version(
    client: FlaskClient, toy: Place, as_user: AsUser, method: str, header: str | None, status: int
) -> None:
    path, tag = toy
    headers = as_user(role="admin")
    if header is not None:
        headers["If-Match"] = header.format(tag=tag)
    body: dict[str, Any] = {"json": {"price": 2}} if method == "PATCH" else {}
    response = client.open(path, method=method, headers=headers, **body)
    assert response.status_code == (204 if status == 200 and method == "DELETE" else status), response.text
    if status == 412:
        assert_problem(response, 412, "PRECONDITION_FAILED")
        assert client.get(path).headers["ETag"] == tag


def test_a_lost_update_is_told_with_the_current_tag_and_what_differs(
    client: FlaskClient, toy: Place, ann: dict[str, str]
) -> None:
    path, tag = toy
    faster = client.patch(path, json={"name": "bear"}, headers=ann | {"If-Match": tag})
    assert faster.headers["ETag"].startswith('"2.')
    slower = client.patch(path, json={"name": "doll", "price": 1}, headers=ann | {"If-Match": tag})
    body = assert_problem(slower, 412, "PRECONDITION_FAILED")
    assert set(body["errors"]) == {"name"}
    assert slower.headers["ETag"] == faster.headers["ETag"] == client.get(path).headers["ETag"]
    again = client.patch(path, json={"name": "doll"}, headers=ann | {"If-Match": slower.headers["ETag"]})
    assert again.status_code == 200


def test_the_tag_of_a_412_without_a_representation_matches_too(
    client: FlaskClient, toy: Place, as_user: AsUser
) -> None:
    path, _ = toy
    headers = as_user(role="moderator")
    refused = client.delete(path, headers=headers | {"If-Match": '"7"'})
    assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert refused.headers["ETag"] == '"1"'
    assert client.delete(path, headers=headers | {"If-Match": refused.headers["ETag"]}).status_code == 204
