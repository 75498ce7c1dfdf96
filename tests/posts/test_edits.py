from functools import partial
from typing import Any

import pytest
from flask import Flask

from services.posts.models import Post
from shared.ids import new_id
from tests.conftest import on_sqlite
from tests.posts.conftest import Client, Headers, Write, at_once, body, refused

URL = "/api/posts"


def test_patch_changes_what_it_names(client: Client, ann: Headers, write: Write) -> None:
    post = write(tags=["a"], excerpt="Short.", coverImage=new_id())
    answer = client.patch(f"{URL}/{post['id']}", json={"title": "Changed"}, headers=ann)
    assert answer.status_code == 200
    changed = answer.json["data"]
    assert {key for key in post if post[key] != changed[key]} == {"title", "updatedAt"}
    assert client.get(f"{URL}/{post['id']}").json["data"] == changed


def test_put_replaces_and_clears_what_it_leaves_out(client: Client, ann: Headers, write: Write) -> None:
    post = write(tags=["a"], excerpt="Short.", coverImage=new_id())
    given = {"title": "Replaced", "content": "Other content.", "status": "archived"}
    changed = client.put(f"{URL}/{post['id']}", json=given, headers=ann).json["data"]
    assert {key: changed[key] for key in given} == given
    assert (changed["tags"], changed["coverImage"], changed["excerpt"]) == ([], None, "Other content.")
    assert (changed["publishedAt"], changed["slug"]) == (post["publishedAt"], post["slug"])


@pytest.mark.parametrize("field", ["title", "content", "status"])
def test_put_needs_title_content_and_status(client: Client, ann: Headers, write: Write, field: str) -> None:
    given = {name: value for name, value in body().items() if name != field}
    refused(client.put(f"{URL}/{write()['id']}", json=given, headers=ann), 400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"title": None}, "title"),
        ({"content": ""}, "content"),
        ({"status": "deleted"}, "status"),
        ({"tags": None}, "tags"),
        ({"views": 7}, "views"),
        ({"author": "me"}, "author"),
    ],
)
def test_a_bad_change_changes_nothing(
    client: Client, ann: Headers, write: Write, changes: dict[str, Any], field: str
) -> None:
    post = write()
    refused(client.patch(f"{URL}/{post['id']}", json=changes, headers=ann), 400, "VALIDATION_ERROR", field)
    assert client.get(f"{URL}/{post['id']}").json["data"] == post


def test_an_excerpt_of_ones_own_stays_and_another_follows_the_content(
    client: Client, ann: Headers, write: Write
) -> None:
    address = f"{URL}/{write(excerpt='My own.')['id']}"

    def excerpt_after(**change: Any) -> str:
        return str(client.patch(address, json=change, headers=ann).json["data"]["excerpt"])

    assert excerpt_after(content="The second content.") == "My own."
    assert excerpt_after(excerpt=None) == "The second content."
    assert excerpt_after(content="The third content.") == "The third content."
    assert excerpt_after(excerpt="") == "The third content."


def test_what_changes_nothing_is_no_new_version(client: Client, ann: Headers, write: Write) -> None:
    post = write(tags=["a"])
    before = client.get(f"{URL}/{post['id']}").headers["ETag"]
    for change in ({}, {"title": post["title"], "tags": ["a"], "excerpt": None}):
        answer = client.patch(f"{URL}/{post['id']}", json=change, headers=ann)
        assert (answer.status_code, answer.headers["ETag"]) == (200, before)


def test_only_the_author_and_moderators_change_a_post(
    client: Client, bob: Headers, moderator: Headers, write: Write
) -> None:
    address = f"{URL}/{write()['id']}"
    refused(client.patch(address, json={"title": "Bob's"}, headers=bob), 403, "FORBIDDEN")
    refused(client.put(address, json=body(), headers=bob), 403, "FORBIDDEN")
    refused(client.delete(address, headers=bob), 403, "FORBIDDEN")
    assert client.patch(address, json={"title": "Mo's"}, headers=moderator).json["data"]["title"] == "Mo's"
    assert client.delete(address, headers=moderator).status_code == 204


@pytest.mark.parametrize("status", ["draft", "archived"])
def test_what_a_stranger_cannot_see_is_not_there_to_change(
    client: Client, ann: Headers, bob: Headers, write: Write, status: str
) -> None:
    address = f"{URL}/{write()['id']}"
    client.patch(address, json={"status": status}, headers=ann)
    for call in (client.delete, partial(client.patch, json={"title": "Bob's"}), partial(client.put, json=body())):
        refused(call(address, headers=bob), 404, "NOT_FOUND")


def test_a_deleted_post_is_gone_for_everybody(client: Client, ann: Headers, moderator: Headers, write: Write) -> None:
    post = write()
    answer = client.delete(f"{URL}/{post['id']}", headers=ann)
    assert (answer.status_code, answer.data) == (204, b"")
    for headers in ({}, ann, moderator):
        refused(client.get(f"{URL}/{post['id']}", headers=headers), 404, "NOT_FOUND")
        refused(client.get(f"{URL}/{post['slug']}", headers=headers), 404, "NOT_FOUND")
    refused(client.delete(f"{URL}/{post['id']}", headers=ann), 404, "NOT_FOUND")
    assert Post.get(Post.id == post["id"]).deleted_at


def test_an_edit_of_an_old_version_is_refused(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="First", tags=["a"])
    address = f"{URL}/{post['id']}"
    seen = client.get(address).headers["ETag"]
    changed = client.patch(address, json={"title": "Second"}, headers=ann | {"If-Match": seen})
    assert changed.status_code == 200
    for call in (
        partial(client.patch, json={"title": "Third", "tags": ["a"]}),
        partial(client.put, json=body(title="Third", tags=["a"], content=post["content"])),
    ):
        answer = call(address, headers=ann | {"If-Match": seen})
        refused(answer, 412, "PRECONDITION_FAILED", "title")
        assert answer.headers["ETag"] == changed.headers["ETag"]
    refused(client.delete(address, headers=ann | {"If-Match": seen}), 412, "PRECONDITION_FAILED")
    assert client.get(address).json["data"]["title"] == "Second"
    assert client.delete(address, headers=ann | {"If-Match": changed.headers["ETag"]}).status_code == 204


def test_a_counter_makes_no_edit_stale(client: Client, ann: Headers, write: Write) -> None:
    address = f"{URL}/{write()['id']}"
    seen = client.get(address).headers["ETag"]
    client.post(f"{address}/comments", json={"content": "Good."}, headers=ann)
    now = client.get(address, headers={"If-None-Match": seen})
    assert (now.status_code, now.headers["ETag"] == seen) == (200, False)
    assert client.patch(address, json={"title": "New"}, headers=ann | {"If-Match": seen}).status_code == 200


def test_of_racing_edits_of_one_version_one_wins(app: Flask, client: Client, ann: Headers, write: Write) -> None:
    address = f"{URL}/{write()['id']}"
    headers = ann | {"If-Match": client.get(address).headers["ETag"]}

    def edit(number: int) -> Any:
        return app.test_client().patch(address, json={"title": f"Title {number}"}, headers=headers)

    answers = at_once(*(partial(edit, number) for number in range(6)))
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer is not winner:
            refused(answer, 412, "PRECONDITION_FAILED", "title")
    assert client.get(address).json["data"] == winner.json["data"]


def test_racing_edits_without_a_version_all_count(app: Flask, client: Client, ann: Headers, write: Write) -> None:
    post = write()
    address = f"{URL}/{post['id']}"

    def edit(change: dict[str, Any]) -> Any:
        return app.test_client().patch(address, json=change, headers=ann)

    def comment() -> Any:
        return app.test_client().post(f"{address}/comments", json={"content": "Good."}, headers=ann)

    changes: list[dict[str, Any]] = [
        {"title": "New title"},
        {"tags": ["x"]},
        {"excerpt": "New."},
        {"content": "1234567890"},
    ]
    answers = at_once(*(partial(edit, change) for change in changes), comment, comment)
    assert [answer.status_code for answer in answers] == [200] * 4 + [201] * 2
    now = client.get(address)
    for change in changes:
        assert now.json["data"] | change == now.json["data"]
    assert now.json["data"]["commentCount"] == 2
    assert now.headers["ETag"].startswith('"5.')


def test_publishing_at_once_is_counted_and_told_once(app: Flask, client: Client, ann: Headers, write: Write) -> None:
    address = f"{URL}/{write(status='draft')['id']}"

    def publish() -> Any:
        return app.test_client().patch(address, json={"status": "published"}, headers=ann)

    answers = at_once(*[publish] * 5)
    assert len({answer.json["data"]["publishedAt"] for answer in answers}) == 1
    assert client.get(URL).json["pagination"]["total"] == 1
    headers = {"Authorization": f"Bearer {app.config['INTERNAL_TOKEN']}"}
    assert [event["type"] for event in client.get("/internal/feed", headers=headers).get_json(force=True)] == [
        "post.published"
    ]


@on_sqlite
@pytest.mark.parametrize(
    "headers, status",
    [
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"7.0", {tag}'}, 200),
        ({"If-Match": '"7.0"'}, 412),
        ({"If-Match": ""}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": "W/{tag}"}, 412),
        ({"If-None-Match": '"7.0"'}, 200),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),  # it has no Last-Modified
    ],
)
@pytest.mark.parametrize("method", ["get", "head", "patch", "put", "delete"])
def test_preconditions_count_on_every_method(
    client: Client, ann: Headers, write: Write, method: str, headers: Headers, status: int
) -> None:
    post = write()
    for address in (f"{URL}/{post['id']}", f"/api/users/{post['author']['id']}/posts/{post['id']}"):
        read = client.get(address)
        given = {name: value.format(tag=read.headers["ETag"]) for name, value in headers.items()}
        sent = {"json": body(title="New")} if method in ("patch", "put") else {}
        answer = getattr(client, method)(address, headers=ann | given, **sent)
        reads = method in ("get", "head")
        wanted = 304 if reads and "If-None-Match" in given and status == 412 else status
        assert answer.status_code == (204 if (method, wanted) == ("delete", 200) else wanted)
        if wanted == 412:
            assert answer.headers["ETag"] == read.headers["ETag"]
            assert client.get(address).json == read.json
        if method == "delete" and wanted == 200:
            client.post(f"{URL}/{post['id']}/restore", headers=ann)
