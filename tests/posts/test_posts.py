from typing import Any

import orjson
import pytest
from flask import Flask

from services.posts.models import Author, Fact, Post
from shared.ids import is_id, new_id
from shared.service import service_of
from tests.conftest import on_sqlite
from tests.posts.conftest import Client, Headers, Write, body, refused

URL = "/api/posts"
NOWHERE = "0190b5a0-0000-7000-8000-000000000000"


def facts() -> list[dict[str, Any]]:
    return [orjson.loads(fact.data) | {"type": fact.type} for fact in Fact.select().order_by(Fact.id)]


def test_a_post_comes_back_as_it_was_written(client: Client, ann: Headers) -> None:
    cover = new_id()
    tags = ["Flask", "Ärger", "日本"]
    given = body(title="  Zwölf Äpfel  ", content=" as written \n", tags=tags, excerpt=" Short. ", coverImage=cover)
    answer = client.post(URL, json=given, headers=ann)
    assert answer.status_code == 201
    post = answer.json["data"]
    assert is_id(post["id"])
    assert answer.headers["Location"] == f"/api/posts/{post['id']}"
    assert answer.headers["ETag"].startswith('"1.')
    assert (post["title"], post["content"], post["excerpt"]) == ("Zwölf Äpfel", " as written \n", "Short.")
    assert (post["slug"], post["tags"], post["status"]) == ("zwölf-äpfel", tags, "published")
    assert post["coverImage"] == {"id": cover, "url": f"http://localhost:8000/api/files/by-id/{cover}"}
    assert (post["category"], post["views"], post["likeCount"], post["commentCount"]) == (None, 0, 0, 0)
    assert post["author"]["name"] == "Ann"
    assert post["createdAt"] == post["publishedAt"] == post["updatedAt"]
    for key in (post["id"], post["slug"]):
        read = client.get(f"{URL}/{key}")
        assert read.json["data"] == post
        assert read.headers["ETag"] == answer.headers["ETag"]


def test_the_least_that_makes_a_post_makes_a_draft(client: Client, ann: Headers) -> None:
    post = client.post(URL, json={"title": "abc", "content": "0123456789"}, headers=ann).json["data"]
    assert (post["status"], post["publishedAt"], post["tags"], post["coverImage"]) == ("draft", None, [], None)
    assert facts() == []


@on_sqlite
@pytest.mark.parametrize(
    "changes, field",
    [
        ({"title": "ab"}, "title"),
        ({"title": "   ab   "}, "title"),
        ({"title": "a" * 201}, "title"),
        ({"title": None}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\u0000bc"}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"content": "too short"}, "content"),
        ({"content": " " * 20}, "content"),
        ({"content": "a" * 100_001}, "content"),
        ({"content": "0123456789\u0007"}, "content"),
        ({"excerpt": "a" * 301}, "excerpt"),
        ({"status": "archived"}, "status"),
        ({"status": ""}, "status"),
        ({"tags": "one"}, "tags"),
        ({"tags": ["a"] * 21}, "tags"),
        ({"tags": ["a", "b" * 51]}, "tags.1"),
        ({"tags": ["a", " "]}, "tags.1"),
        ({"tags": None}, "tags"),
        ({"coverImage": "no-id"}, "coverImage"),
        ({"coverImage": "123e4567-e89b-42d3-a456-426614174000"}, "coverImage"),
        ({"slug": "mine"}, "slug"),
        ({"cover_image": None}, "cover_image"),
    ],
)
def test_bad_fields_are_named(client: Client, ann: Headers, changes: dict[str, Any], field: str) -> None:
    refused(client.post(URL, json=body(**changes), headers=ann), 400, "VALIDATION_ERROR", field)
    assert Post.select().count() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "a" * 200},
        {"content": "a" * 100_000},
        {"content": "line\r\n\ttwo and more"},
        {"excerpt": "a" * 300, "tags": [f"{n}" * 50 for n in range(10)]},
        {"title": "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 200},
        {"title": "a" + "\N{COMBINING ACUTE ACCENT}" * 199},
    ],
)
def test_the_limits_themselves_are_allowed(write: Write, changes: dict[str, Any]) -> None:
    write(**changes)


@on_sqlite
@pytest.mark.parametrize("field", ["title", "content"])
def test_title_and_content_are_needed(client: Client, ann: Headers, field: str) -> None:
    given = {name: value for name, value in body().items() if name != field}
    refused(client.post(URL, json=given, headers=ann), 400, "VALIDATION_ERROR", field)


def test_strangers_cannot_write(client: Client, write: Write) -> None:
    post = write()
    for method in ("put", "patch", "delete"):
        refused(getattr(client, method)(f"{URL}/{post['id']}", json={}), 401, "UNAUTHORIZED")
    refused(client.post(URL, json=body()), 401, "UNAUTHORIZED")
    refused(client.post(URL, json=body(), headers={"Authorization": "Bearer nonsense"}), 401, "UNAUTHORIZED")


@on_sqlite
@pytest.mark.parametrize(
    "content, excerpt",
    [
        ("A short content.", "A short content."),
        ("  Two\n\nlines   here ", "Two lines here"),
        ("word " * 100, ("word " * 40).strip()),
        ("ab " + "x" * 300, ("ab " + "x" * 300)[:200]),
        ("蝶" * 300, "蝶" * 200),
        ("e\u0301" * 300, "e\u0301" * 100),
        ("👩\u200d🌾" * 300, "👩\u200d🌾" * 66),
    ],
)
def test_an_excerpt_is_cut_at_a_word_and_never_inside_a_letter(write: Write, content: str, excerpt: str) -> None:
    assert write(content=content)["excerpt"] == excerpt


def test_tags_that_differ_in_case_only_count_once(client: Client, write: Write) -> None:
    assert write(tags=["Flask", "FLASK", " flask ", "ｆｌａｓｋ", "Straße", "STRASSE"])["tags"] == ["Flask", "Straße"]
    assert write(tags=["fLASK"])["tags"] == ["fLASK"]
    assert write(tags=["Red", "other", "RED"])["tags"] == ["Red", "other"]
    assert client.get(f"{URL}?tag=flask").json["pagination"]["total"] == 2
    assert client.get(f"{URL}?tag=strasse").json["pagination"]["total"] == 1


def test_publishing_is_told_once(client: Client, ann: Headers, write: Write) -> None:
    post = write(status="draft", title="First name")
    for status in ("published", "draft", "archived", "published"):
        client.patch(f"{URL}/{post['id']}", json={"status": status}, headers=ann)
    (fact,) = (fact for fact in facts() if fact["type"] == "post.published")
    last = client.get(f"{URL}/{post['id']}").json["data"]
    told = {"id": post["id"], "title": last["title"], "slug": last["slug"], "authorId": post["author"]["id"]}
    assert fact == told | {"type": "post.published", "publishedAt": last["publishedAt"]}


def test_reading_again_with_the_etag_is_not_modified(client: Client, write: Write) -> None:
    post = write()
    read = client.get(f"{URL}/{post['id']}")
    again = client.get(f"{URL}/{post['id']}", headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = client.head(f"{URL}/{post['id']}")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", read.headers["ETag"])


@pytest.mark.parametrize(
    "key",
    [
        "nothing",
        "%00",
        "a%00b",
        "%ff",
        "a" * 300,
        "0190b5a0-0000-7000-8000-000000000000",
        "NOTHING",
        "x~1",
        "%F0%9F%9A%82",
    ],
)
def test_what_is_not_there_is_not_found(client: Client, ann: Headers, key: str) -> None:
    refused(client.get(f"{URL}/{key}"), 404, "NOT_FOUND")
    refused(client.patch(f"{URL}/{key}", json={"title": "New"}, headers=ann), 404, "NOT_FOUND")
    refused(client.put(f"{URL}/{key}", json=body(), headers=ann), 404, "NOT_FOUND")
    refused(client.delete(f"{URL}/{key}", headers=ann), 404, "NOT_FOUND")
    refused(client.get(f"{URL}/{key}/comments"), 404, "NOT_FOUND")


def test_a_slug_is_no_id_where_an_id_is_needed(client: Client, ann: Headers, write: Write) -> None:
    slug = write()["slug"]
    refused(client.patch(f"{URL}/{slug}", json={"title": "New"}, headers=ann), 404, "NOT_FOUND")
    refused(client.get(f"{URL}/{slug}/comments"), 404, "NOT_FOUND")


def test_another_method_is_told_which_are_allowed(client: Client, write: Write) -> None:
    answer = client.post(f"{URL}/{write()['id']}")
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert "PATCH" in answer.headers["Allow"]


def test_the_document_describes_every_route(app: Flask, client: Client) -> None:
    paths = service_of(app).document()["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods if method != "parameters"} == {
        ("/api/posts", "get"),
        ("/api/posts", "post"),
        ("/api/posts/{key}", "get"),
        ("/api/posts/{post_id}", "put"),
        ("/api/posts/{post_id}", "patch"),
        ("/api/posts/{post_id}", "delete"),
        ("/api/posts/{post_id}/restore", "post"),
        ("/api/users/{user_id}/posts", "get"),
        *(("/api/users/{user_id}/posts/{post_id}", method) for method in ("get", "put", "patch", "delete")),
        ("/api/tags", "get"),
        ("/api/categories", "get"),
        ("/api/categories", "post"),
        ("/api/categories/{key}", "patch"),
        ("/api/categories/{key}", "delete"),
        ("/api/posts/{post_id}/like", "put"),
        ("/api/posts/{post_id}/like", "delete"),
        ("/internal/views", "post"),
        ("/api/posts/{post_id}/comments", "get"),
        ("/api/posts/{post_id}/comments", "post"),
        ("/api/comments/{comment_id}", "patch"),
        ("/api/comments/{comment_id}", "delete"),
        ("/api/admin/comments", "get"),
    }


def test_the_service_is_alive_and_ready(client: Client) -> None:
    assert client.get("/healthz").status_code == 200
    checks = client.get("/readyz").json["data"]["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {"database": "ok"}


def test_answers_to_credentials_are_private(client: Client, ann: Headers, write: Write) -> None:
    post = write()
    assert client.get(f"{URL}/{post['id']}", headers=ann).headers["Cache-Control"] == "private, no-store"
    assert client.get(URL, headers=ann).headers["Cache-Control"] == "private, no-store"


def test_an_author_is_known_from_the_token_alone(write: Write, ann: Headers) -> None:
    post = write()
    assert Author.get_by_id(post["author"]["id"]).told_at is None
