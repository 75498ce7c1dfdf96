from typing import Any

import pytest

from services.posts.models import Author
from shared.ids import new_id
from tests.posts.conftest import Client, Headers, Write, body, refused


@pytest.fixture
def post(write: Write) -> dict[str, Any]:
    return write(title="By Ann", tags=["x"])


@pytest.fixture
def own(post: dict[str, Any]) -> str:
    return f"/api/users/{post['author']['id']}/posts"


def test_the_list_is_of_one_user(client: Client, ann: Headers, bob: Headers, write: Write, own: str) -> None:
    write(bob, title="By Bob", tags=["x"])
    write(title="A draft", status="draft")
    for query in ("", "?tag=x", "?sort=title", "?q=lantern"):
        assert [item["title"] for item in client.get(own + query).json["data"]] == ["By Ann"]
    assert [item["title"] for item in client.get(f"{own}?status=draft", headers=ann).json["data"]] == ["A draft"]
    assert client.get(f"{own}?status=draft", headers=bob).json["data"] == []
    assert client.get(f"/api/users/{new_id()}/posts").json["data"] == []
    refused(client.get("/api/users/nobody/posts"), 404, "NOT_FOUND")
    refused(client.get(f"{own}?author=bob"), 400, "VALIDATION_ERROR", "author")
    assert f"<{own}?page=1>" in client.get(own).headers["Link"]


def test_one_post_works_as_under_its_own_address(client: Client, ann: Headers, post: Any, own: str) -> None:
    address = f"{own}/{post['id']}"
    answer = client.get(address)
    assert answer.headers["ETag"] == client.get(f"/api/posts/{post['id']}").headers["ETag"]
    assert client.patch(address, json={"title": "New"}, headers=ann).json["data"]["title"] == "New"
    stale = client.put(address, json=body(title="Newer"), headers=ann | {"If-Match": answer.headers["ETag"]})
    refused(stale, 412, "PRECONDITION_FAILED", "tags", "title")
    assert client.put(address, json=body(title="Newer"), headers=ann).json["data"]["tags"] == []
    assert client.delete(address, headers=ann).status_code == 204
    refused(client.get(address), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_a_post_of_somebody_else_is_forbidden_there(
    client: Client, ann: Headers, bob: Headers, write: Write, own: str, method: str
) -> None:
    other = write(bob, title="By Bob")
    hidden = write(bob, title="Draft of Bob", status="draft")
    given = {} if method in ("get", "delete") else {"json": body()}
    call = getattr(client, method)
    refused(call(f"{own}/{other['id']}", headers=ann, **given), 403, "FORBIDDEN")
    refused(call(f"{own}/{hidden['id']}", headers=ann, **given), 404, "NOT_FOUND")
    refused(call(f"{own}/{new_id()}", headers=ann, **given), 404, "NOT_FOUND")
    refused(call(f"{own}/{other['slug']}", headers=ann, **given), 404, "NOT_FOUND")
    if method != "get":
        refused(call(f"/api/users/{other['author']['id']}/posts/{other['id']}", headers=ann, **given), 403, "FORBIDDEN")
        refused(call(f"{own}/{other['id']}", **given), 401, "UNAUTHORIZED")


def test_a_deleted_post_comes_back_as_it_was(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="The lantern", tags=["Red"])
    address = f"/api/posts/{post['id']}"
    client.delete(address, headers=ann)
    taken = write(title="The lantern")
    assert taken["slug"] == post["slug"]
    back = client.post(f"{address}/restore", headers=ann)
    assert back.status_code == 200
    data = back.json["data"]
    assert data["slug"].startswith(f"{post['slug']}-")
    changed = ("slug", "updatedAt")
    assert {k: v for k, v in data.items() if k not in changed} == {k: v for k, v in post.items() if k not in changed}
    for query in ("", "?tag=red", "?q=lantern", "?author=ann"):
        found = [item["id"] for item in client.get(f"/api/posts{query}").json["data"]]
        assert post["id"] in found, query
    assert client.get("/api/posts").json["pagination"]["total"] == 2
    assert client.post(f"{address}/restore", headers=ann).json["data"] == data


def test_a_restored_post_has_its_slug_again_when_it_is_free(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="The lantern")
    client.patch(f"/api/posts/{post['id']}", json={"title": "Renamed"}, headers=ann)
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    back = client.post(f"/api/posts/{post['id']}/restore", headers=ann).json["data"]
    assert (back["slug"], back["title"]) == (post["slug"], "Renamed")


def test_a_restored_draft_stays_hidden(client: Client, ann: Headers, write: Write) -> None:
    draft = write(status="draft")
    client.delete(f"/api/posts/{draft['id']}", headers=ann)
    assert client.post(f"/api/posts/{draft['id']}/restore", headers=ann).json["data"]["publishedAt"] is None
    assert client.get("/api/posts").json["data"] == []
    refused(client.get(f"/api/posts/{draft['id']}"), 404, "NOT_FOUND")


def test_who_may_restore(client: Client, ann: Headers, bob: Headers, moderator: Headers, write: Write) -> None:
    post = write()
    address = f"/api/posts/{post['id']}/restore"
    refused(client.post(address, headers=bob), 403, "FORBIDDEN")
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    refused(client.post(address), 401, "UNAUTHORIZED")
    refused(client.post(address, headers=bob), 404, "NOT_FOUND")
    refused(client.post("/api/posts/nothing/restore", headers=ann), 404, "NOT_FOUND")
    assert client.post(address, headers=moderator).status_code == 200
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    Author.anonymize(post["author"]["id"])
    refused(client.post(address, headers=moderator), 404, "NOT_FOUND")
