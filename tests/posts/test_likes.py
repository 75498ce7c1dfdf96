from typing import Any

import pytest
from flask import Flask

from services.posts.models import Fact
from shared.ids import new_id
from tests.posts.conftest import AsUser, Client, Headers, Write, at_once, refused


@pytest.fixture
def post(write: Write) -> dict[str, Any]:
    return write()


@pytest.fixture
def address(post: dict[str, Any]) -> str:
    return f"/api/posts/{post['id']}/like"


def test_a_like_is_one_however_often_it_is_given(client: Client, ann: Headers, bob: Headers, address: str) -> None:
    for call, headers, liked, count in (
        (client.delete, ann, False, 0),
        (client.put, ann, True, 1),
        (client.put, ann, True, 1),
        (client.put, bob, True, 2),
        (client.delete, ann, False, 1),
        (client.delete, ann, False, 1),
    ):
        answer = call(address, headers=headers)
        assert (answer.status_code, answer.json["data"]) == (200, {"liked": liked, "likeCount": count})
    assert client.get(address.removesuffix("/like")).json["data"]["likeCount"] == 1
    assert Fact.select().where(Fact.type == "post.liked").count() == 2


def test_racing_likes_are_all_counted(app: Flask, client: Client, as_user: AsUser, post: Any, address: str) -> None:
    people = [as_user(f"User {number}") for number in range(4)] * 2
    calls = [lambda who=who: app.test_client().put(address, headers=who).status_code for who in people]
    assert at_once(*calls) == [200] * 8
    assert client.get(f"/api/posts/{post['id']}").json["data"]["likeCount"] == 4


def test_what_cannot_be_seen_cannot_be_liked(client: Client, ann: Headers, bob: Headers, write: Write) -> None:
    draft = write(status="draft")
    refused(client.put(f"/api/posts/{draft['id']}/like", headers=bob), 404, "NOT_FOUND")
    for key in (new_id(), "slug", "x" * 500):
        refused(client.put(f"/api/posts/{key}/like", headers=ann), 404, "NOT_FOUND")


def test_strangers_do_not_like(client: Client, address: str) -> None:
    refused(client.put(address), 401, "UNAUTHORIZED")
    refused(client.delete(address), 401, "UNAUTHORIZED")


def test_a_like_is_no_edit(client: Client, ann: Headers, bob: Headers, post: Any, address: str) -> None:
    tag = client.get(f"/api/posts/{post['id']}").headers["ETag"]
    client.put(address, headers=bob)
    headers = ann | {"If-Match": tag}
    assert client.patch(f"/api/posts/{post['id']}", json={"title": "Changed"}, headers=headers).status_code == 200
