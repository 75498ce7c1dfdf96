"""What other services are told of posts, comments and likes."""

from typing import Any

import orjson
import pytest

from services.posts import likes
from services.posts.models import Fact, Post, PostLike
from shared.identity.claims import Claims
from shared.ids import new_id
from shared.problems import Problem
from tests.posts.conftest import Client, Headers, Write


def facts(*types: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (fact.type, fact.subject, orjson.loads(fact.data))
        for fact in Fact.select().where(Fact.type.in_(types)).order_by(Fact.id)
    ]


def comment(client: Client, headers: Headers, post: Any, parent: str | None = None) -> dict[str, Any]:
    path, body = f"/api/posts/{post['id']}/comments", {"content": "Well said.", "parentId": parent}
    data: dict[str, Any] = client.post(path, json=body, headers=headers).json["data"]
    return data


COMMENTS = [f"comment.{what}" for what in ("created", "updated", "hidden", "shown", "deleted")]


def test_the_life_of_a_comment_is_told(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, write: Write
) -> None:
    post = write()
    first = comment(client, ann, post)
    reply = comment(client, bob, post, first["id"])
    path = f"/api/comments/{reply['id']}"
    for headers, change in (
        (bob, {"content": "Better said."}),
        (moderator, {"status": "hidden"}),
        (bob, {"content": "Nobody sees this."}),
        (moderator, {"status": "visible"}),
    ):
        assert client.patch(path, json=change, headers=headers).status_code == 200
    assert client.delete(path, headers=bob).status_code == 204
    about = {"id": reply["id"], "postId": post["id"]}
    whole = about | {
        "postTitle": post["title"], "postAuthorId": post["author"]["id"], "authorId": reply["author"]["id"],
        "authorName": "Bob", "parentId": first["id"], "parentAuthorId": first["author"]["id"],
    }  # fmt: skip
    assert facts(*COMMENTS)[1:] == [
        ("comment.created", reply["id"], whole),
        ("comment.updated", reply["id"], whole),
        ("comment.hidden", reply["id"], about | {"wasVisible": True}),
        ("comment.shown", reply["id"], whole),
        ("comment.deleted", reply["id"], about | {"wasVisible": True}),
    ]


@pytest.mark.parametrize("status", ["draft", "archived"])
def test_of_a_comment_that_nobody_may_see_only_its_end_is_told(
    client: Client, ann: Headers, moderator: Headers, write: Write, status: str
) -> None:
    post = write(status="draft")
    client.patch(f"/api/posts/{post['id']}", json={"status": status}, headers=ann)
    path = f"/api/comments/{comment(client, ann, post)['id']}"
    client.patch(path, json={"content": "Other words."}, headers=ann)
    for status in ("hidden", "visible"):
        client.patch(path, json={"status": status}, headers=moderator)
    client.delete(path, headers=ann)
    told = [(kind, data["wasVisible"]) for kind, _, data in facts(*COMMENTS)]
    assert told == [("comment.hidden", False), ("comment.deleted", False)]


def test_likes_are_told_and_taken_back(client: Client, ann: Headers, bob: Headers, write: Write) -> None:
    post = write()
    for call in (client.put, client.put, client.delete, client.delete):
        call(f"/api/posts/{post['id']}/like", headers=bob)
    liked, taken_back = facts("post.liked", "post.unliked")
    assert liked[2] == taken_back[2]
    assert liked[2].pop("userId")
    assert liked[2] == {
        "id": post["id"], "title": post["title"], "authorId": post["author"]["id"], "userName": "Bob",
    }  # fmt: skip


def test_a_like_that_comes_after_the_deletion_is_none(client: Client, ann: Headers, write: Write) -> None:
    post = write()
    row = Post.get(Post.id == post["id"])
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    with pytest.raises(Problem) as caught:
        likes.set_like(Claims(new_id(), "", "Bob", "user", "", "", 0, 0), row, liked=True)
    assert caught.value.code == "NOT_FOUND"
    assert (facts("post.liked"), PostLike.select().count()) == ([], 0)


def test_a_new_title_is_told(client: Client, ann: Headers, write: Write) -> None:
    post = write()
    client.patch(f"/api/posts/{post['id']}", json={"title": "Another title"}, headers=ann)
    ((_, subject, data),) = facts("post.updated")
    assert subject == post["id"]
    assert data == {
        "id": post["id"], "title": "Another title", "authorId": post["author"]["id"], "slug": post["slug"],
        "publishedAt": post["publishedAt"], "listed": True, "wasListed": True,
    }  # fmt: skip


def test_it_is_told_whether_everybody_may_see_a_post_and_could(client: Client, ann: Headers, write: Write) -> None:
    post = write(status="draft")
    path = f"/api/posts/{post['id']}"
    for status in ("archived", "published", "archived", "draft", "published"):
        assert client.patch(path, json={"status": status}, headers=ann).status_code == 200
    assert client.delete(path, headers=ann).status_code == 204
    assert client.post(f"{path}/restore", headers=ann).status_code == 200
    client.patch(path, json={"status": "draft"}, headers=ann)
    client.delete(path, headers=ann)
    client.post(f"{path}/restore", headers=ann)
    told = facts("post.published", "post.updated", "post.deleted")
    assert [(kind, data.get("listed"), data.get("wasListed")) for kind, _, data in told] == [
        ("post.published", None, None),
        ("post.updated", False, True),
        ("post.updated", False, False),
        ("post.updated", True, False),
        ("post.deleted", None, True),
        ("post.updated", True, False),
        ("post.updated", False, True),
        ("post.deleted", None, False),
        ("post.updated", False, False),
    ]


def test_it_is_told_whether_a_comment_that_goes_could_be_seen(
    client: Client, ann: Headers, moderator: Headers, write: Write
) -> None:
    post = write()
    seen, hidden = (comment(client, ann, post)["id"] for _ in range(2))
    client.patch(f"/api/comments/{hidden}", json={"status": "hidden"}, headers=moderator)
    for one in (seen, hidden):
        assert client.delete(f"/api/comments/{one}", headers=moderator).status_code == 204
    assert [data["wasVisible"] for _, _, data in facts("comment.deleted")] == [True, False]
