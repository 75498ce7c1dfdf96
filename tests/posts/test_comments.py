from typing import Any

import pytest
from flask import Flask
from playhouse.test_utils import assert_query_count

from services.posts import comments
from services.posts.models import Comment
from tests.posts.conftest import AsUser, Client, Headers, Write, at_once, refused

NOTHING = "0190b5a0-0000-7000-8000-000000000000"


@pytest.fixture
def post(write: Write) -> dict[str, Any]:
    return write()


@pytest.fixture
def address(post: dict[str, Any]) -> str:
    return f"/api/posts/{post['id']}/comments"


def test_a_comment_comes_back_as_it_was_written(client: Client, bob: Headers, post: Any, address: str) -> None:
    answer = client.post(address, json={"content": " Good,\n<b>very</b> good. "}, headers=bob)
    assert answer.status_code == 201
    comment = answer.json["data"]
    assert answer.headers["Location"] == f"/api/comments/{comment['id']}"
    assert (comment["content"], comment["author"]["name"]) == (" Good,\n<b>very</b> good. ", "Bob")
    assert (comment["postId"], comment["parentId"], comment["depth"]) == (post["id"], None, 1)
    assert client.get(address).json["data"] == [comment]


def test_comments_come_in_pages_the_earliest_first(client: Client, ann: Headers, address: str) -> None:
    for number in range(5):
        client.post(address, json={"content": f"Comment {number}"}, headers=ann)
    first = client.get(f"{address}?limit=3").json
    assert [comment["content"] for comment in first["data"]] == ["Comment 0", "Comment 1", "Comment 2"]
    assert first["pagination"]["total"] == 5
    rest = client.get(f"{address}?limit=3&cursor={first['pagination']['nextCursor']}").json
    assert [comment["content"] for comment in rest["data"]] == ["Comment 3", "Comment 4"]


def test_replies_nest_to_six_levels(client: Client, ann: Headers, address: str) -> None:
    parent = None
    for depth in range(1, 7):
        answer = client.post(address, json={"content": "Reply", "parentId": parent}, headers=ann)
        assert (answer.status_code, answer.json["data"]["depth"]) == (201, depth)
        assert answer.json["data"]["parentId"] == parent
        parent = answer.json["data"]["id"]
    answer = client.post(address, json={"content": "Reply", "parentId": parent}, headers=ann)
    refused(answer, 400, "VALIDATION_ERROR", "parentId")


@pytest.mark.parametrize(
    "given, field",
    [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": " \n "}, "content"),
        ({"content": "a" * 5001}, "content"),
        ({"content": "a\u0000"}, "content"),
        ({"content": "Good", "parentId": "x"}, "parentId"),
        ({"content": "Good", "parentId": NOTHING}, "parentId"),
        ({"content": "Good", "depth": 1}, "depth"),
    ],
)
def test_a_bad_comment_is_refused_and_not_counted(
    client: Client, ann: Headers, post: Any, address: str, given: Any, field: str
) -> None:
    refused(client.post(address, json=given, headers=ann), 400, "VALIDATION_ERROR", field)
    assert client.get(f"/api/posts/{post['id']}").json["data"]["commentCount"] == 0


def test_a_parent_must_be_on_the_same_post(client: Client, ann: Headers, write: Write, address: str) -> None:
    elsewhere = f"/api/posts/{write()['id']}/comments"
    other = client.post(elsewhere, json={"content": "Other"}, headers=ann).json["data"]["id"]
    answer = client.post(address, json={"content": "Reply", "parentId": other}, headers=ann)
    refused(answer, 400, "VALIDATION_ERROR", "parentId")


def test_strangers_read_but_do_not_write(client: Client, address: str) -> None:
    assert client.get(address).status_code == 200
    refused(client.post(address, json={"content": "Hi"}), 401, "UNAUTHORIZED")


def test_a_draft_is_open_to_its_author_only(client: Client, ann: Headers, bob: Headers, write: Write) -> None:
    draft = f"/api/posts/{write(status='draft')['id']}/comments"
    refused(client.post(draft, json={"content": "Hi"}, headers=bob), 404, "NOT_FOUND")
    assert client.post(draft, json={"content": "Hi"}, headers=ann).status_code == 201


def test_no_comment_on_what_is_deleted(client: Client, ann: Headers, post: Any, address: str) -> None:
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    refused(client.post(address, json={"content": "Hi"}, headers=ann), 404, "NOT_FOUND")
    refused(client.get(address), 404, "NOT_FOUND")


def test_a_post_deleted_while_one_writes_takes_no_comment(
    app: Flask, client: Client, ann: Headers, post: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = comments.create

    def create_late(*details: Any, **options: Any) -> Any:
        client.delete(f"/api/posts/{post['id']}", headers=ann)
        return create(*details, **options)

    monkeypatch.setattr(comments, "create", create_late)
    refused(app.test_client().post(address, json={"content": "Hi"}, headers=ann), 404, "NOT_FOUND")
    assert Comment.select().count() == 0


def test_racing_comments_are_all_counted(app: Flask, client: Client, ann: Headers, post: Any, address: str) -> None:
    def comment() -> Any:
        return app.test_client().post(address, json={"content": "Me too"}, headers=ann)

    assert [answer.status_code for answer in at_once(*[comment] * 8)] == [201] * 8
    assert client.get(f"/api/posts/{post['id']}").json["data"]["commentCount"] == 8
    assert client.get("/api/posts").json["data"][0]["commentCount"] == 8
    assert client.get(address).json["pagination"]["total"] == 8


def test_a_repeated_comment_is_written_once(client: Client, ann: Headers, post: Any, address: str) -> None:
    headers = ann | {"Idempotency-Key": "once"}
    answers = [client.post(address, json={"content": "Hi"}, headers=headers) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert (Comment.select().count(), client.get(address).json["pagination"]["total"]) == (1, 1)


def test_a_refused_comment_stays_refused_under_its_key_and_leaves_nothing(
    client: Client, ann: Headers, post: Any, address: str
) -> None:
    given, headers = {"content": "Reply", "parentId": NOTHING}, ann | {"Idempotency-Key": "once"}
    first, again = (client.post(address, json=given, headers=headers) for _ in range(2))
    refused(first, 400, "VALIDATION_ERROR", "parentId")
    assert (again.status_code, again.data, again.headers["Idempotency-Replayed"]) == (400, first.data, "true")
    assert client.get(f"/api/posts/{post['id']}").json["data"]["commentCount"] == 0


@pytest.mark.parametrize("limit", [1, 8])
def test_a_page_of_comments_costs_three_queries(client: Client, as_user: AsUser, address: str, limit: int) -> None:
    for number in range(8):
        client.post(address, json={"content": "Hi"}, headers=as_user(f"User {number}"))
    with assert_query_count(3):
        assert len(client.get(f"{address}?limit={limit}").json["data"]) == limit
