"""What is made by hand from rows is what the schemas that document it make of the models."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.posts.models import DELETED, VISIBLE, Author, Category, Comment, Post, PostContent, Tag
from services.posts.schemas import (
    CategoryItemSchema,
    CommentSchema,
    PostItemSchema,
    PostSchema,
    TagSchema,
)
from services.posts.view_counts import ViewCounter
from shared.ids import new_id
from shared.service import service_of
from tests.posts.conftest import Client, Headers, Write

URL = "/api/posts"


def as_schemas_see(post: Post, **more: Any) -> Any:
    """Return a post with everything that the schemas name, each from where it is kept."""
    image = {"id": post.cover_image, "url": f"http://localhost:8000/api/files/by-id/{post.cover_image}"}
    content = PostContent.get_by_id(post.number).content
    beside = {"tags": post.tags, "cover_image": image if post.cover_image else None, "content": content}
    return SimpleNamespace(**post.__data__ | {"author": post.author, "category": post.category} | beside | more)


def comment_as_schemas_see(comment: Comment, *, tree: bool = False) -> Any:
    known = comment.__data__ | {"post_id": comment.post.id, "parent_id": comment.parent and comment.parent.id}
    known["author"], known["content"] = (comment.author, comment.content) if comment.status == VISIBLE else (None, None)
    if tree:
        replies = Comment.select().where(Comment.parent == comment).order_by(Comment.number)
        known["replies"] = [comment_as_schemas_see(reply, tree=True) for reply in replies]
    return SimpleNamespace(**known)


@pytest.fixture
def posts(client: Client, write: Write, ann: Headers, bob: Headers, moderator: Headers) -> list[dict[str, Any]]:
    """Write posts that have, together, everything that a post can have or lack."""
    category = client.post("/api/categories", json={"name": "Öl & Wasser"}, headers=moderator).json["data"]
    rich = write(
        title='Lanterns & "more"',
        tags=["Zürich", 'a"b', "日本", "<i>"],
        excerpt="Short.",
        coverImage=new_id(),
        category=category["slug"],
    )
    Author.update(avatar="http://localhost:8000/a.png").where(Author.id == rich["author"]["id"]).execute()
    client.put(f"{URL}/{rich['id']}/like", headers=bob)
    views: ViewCounter = service_of(client.application).get(ViewCounter)
    views.record(rich["id"], "somebody")
    views.write()
    plain = write(bob, title="Plain")
    client.patch(f"{URL}/{plain['id']}", json={"content": "Lanterns, edited."}, headers=bob)
    return [rich, plain]


def test_a_single_post(client: Client, posts: list[dict[str, Any]], write: Write, ann: Headers) -> None:
    for post in [*posts, write(status="draft")]:
        answer = client.get(f"{URL}/{post['id']}", headers=ann)
        stored = Post.get(Post.id == post["id"])
        assert answer.json["data"] == PostSchema().dump(as_schemas_see(stored))
        assert set(answer.json["data"]) == {field.data_key for field in PostSchema().fields.values()} - {"highlight"}


@pytest.mark.parametrize(
    "query", ["", "?tag=zürich", "?category=öl-wasser", "?sort=title", "?author=ann", "?q=lantern", "?q=lan&sort=views"]
)
def test_a_list(client: Client, posts: list[dict[str, Any]], query: str) -> None:
    listed = client.get(URL + query).json["data"]
    assert listed
    schema = PostItemSchema(exclude=["highlight"])
    for item in listed:
        assert item == schema.dump(as_schemas_see(Post.get(Post.id == item["id"])))
        assert set(item) == {field.data_key for field in schema.fields.values()}


def test_a_list_of_drafts(client: Client, write: Write, ann: Headers) -> None:
    write(status="draft", tags=["a"], coverImage=new_id())
    (item,) = client.get(f"{URL}?status=draft", headers=ann).json["data"]
    assert item == PostItemSchema().dump(as_schemas_see(Post.get()))


def test_a_list_with_highlights(client: Client, posts: list[dict[str, Any]]) -> None:
    (item,) = client.get(URL, query_string={"q": 'more lanterns "', "highlight": "true"}).json["data"]
    marked = {
        "title": "<mark>Lanterns</mark> &amp; &quot;<mark>more</mark>&quot;",
        "content": "A lantern by the river.",
    }
    stored = as_schemas_see(Post.get(Post.id == item["id"]), highlight=marked)
    assert item == PostItemSchema().dump(stored)
    assert set(item) == {field.data_key for field in PostItemSchema().fields.values()}


def test_comments_flat_and_as_trees(
    client: Client, write: Write, ann: Headers, bob: Headers, moderator: Headers
) -> None:
    address = f"{URL}/{write()['id']}/comments"

    def comment(content: str, headers: Headers, parent: str | None = None) -> str:
        answer = client.post(address, json={"content": content, "parentId": parent}, headers=headers)
        assert answer.json["data"] == CommentSchema().dump(comment_as_schemas_see(stored(answer.json["data"]["id"])))
        return str(answer.json["data"]["id"])

    first = comment("First <b>", ann)
    second = comment("Second\n", bob, first)
    comment("Third", ann, second)
    comment("Fourth", bob, first)
    Author.update(avatar="http://localhost:8000/a.png").execute()
    hidden, gone = comment("Hidden", bob), comment("Gone", bob)
    comment("Stays", ann, gone)
    client.patch(f"/api/comments/{hidden}", json={"status": "hidden"}, headers=moderator)
    client.delete(f"/api/comments/{gone}", headers=bob)
    assert stored(gone).status == DELETED

    flat = client.get(address).json["data"]
    assert flat == [CommentSchema().dump(comment_as_schemas_see(stored(item["id"]))) for item in flat]
    assert len(flat) == 7
    trees = client.get(f"{address}?tree=1").json["data"]
    roots = Comment.select().where(Comment.parent.is_null()).order_by(Comment.number)
    assert trees == [CommentSchema().dump(comment_as_schemas_see(root, tree=True)) for root in roots]
    names = {field.data_key for field in CommentSchema().fields.values()}
    assert (set(flat[0]), set(trees[0])) == (names - {"replies"}, names)
    assert trees[0]["replies"][0]["replies"][0]["content"] == "Third"


def stored(comment_id: str) -> Comment:
    comment: Comment = Comment.get(Comment.id == comment_id)
    return comment


def test_tags_and_categories(client: Client, posts: list[dict[str, Any]]) -> None:
    tags = client.get("/api/tags").json["data"]
    assert sorted(tags, key=str) == sorted(TagSchema(many=True).dump(Tag.select()), key=str)
    categories = client.get("/api/categories").json["data"]
    assert categories == CategoryItemSchema(many=True).dump(Category.select())
    assert (len(tags), len(categories)) == (4, 1)
