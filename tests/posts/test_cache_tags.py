"""What the service says to the gateway's cache."""

import orjson
import pytest

from services.posts import feed_consumers
from services.posts.config import Config
from services.posts.models import Fact
from shared.service import service_of
from tests.posts.conftest import Client, Headers, Write, body

URL = "/api/posts"


def tags(answer: object) -> set[str]:
    return set(answer.headers.get("Cache-Tag", "").split(", "))  # type: ignore[attr-defined]


def test_a_strangers_read_may_be_shared_and_says_what_it_shows(client: Client, write: Write) -> None:
    post = write()
    number, author = post["id"], post["author"]["id"]
    shown = {
        URL: {"posts", f"author-{author}"},
        f"{URL}?q=lantern": {"posts", f"author-{author}"},
        f"/api/users/{author}/posts": {"posts", f"author-{author}"},
        "/api/tags": {"posts"},
        "/api/categories": {"posts"},
        f"{URL}/{number}": {f"post-{number}", f"author-{author}"},
        f"{URL}/{post['slug']}": {f"post-{number}", f"author-{author}"},
        f"{URL}/{number}/comments": {f"post-{number}"},
        f"{URL}/{number}/comments?tree=1": {f"post-{number}"},
    }
    for address, expected in shown.items():
        answer = client.get(address)
        assert answer.headers["Cache-Control"].startswith("public, s-maxage=60")
        assert tags(answer) == expected


def test_a_single_post_names_itself_so_that_its_views_can_be_told(client: Client, write: Write, ann: Headers) -> None:
    post = write()
    for address in (f"{URL}/{post['slug']}", f"/api/users/{post['author']['id']}/posts/{post['id']}"):
        assert client.get(address).headers["View-Of"] == post["id"]
    draft = write(status="draft")
    assert "View-Of" not in client.get(f"{URL}/{draft['id']}", headers=ann).headers


def test_what_the_gateway_has_already_keeps_its_marks(client: Client, write: Write) -> None:
    address = f"{URL}/{write()['id']}"
    first = client.get(address)
    again = client.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    for name in ("Cache-Control", "Cache-Tag", "View-Of"):
        assert again.headers[name] == first.headers[name]


def test_a_comment_names_its_author_too(client: Client, write: Write, bob: Headers) -> None:
    address = f"{URL}/{write()['id']}/comments"
    comment = client.post(address, json={"content": "Hello"}, headers=bob).json["data"]
    for query in ("", "?tree=1"):
        assert f"author-{comment['author']['id']}" in tags(client.get(address + query))


@pytest.mark.parametrize("path", ["/posts", "/posts/{id}", "/posts/{id}/comments", "/users/{id}/posts", "/tags"])
def test_what_somebody_signed_in_reads_may_not_be_shared(client: Client, write: Write, bob: Headers, path: str) -> None:
    answer = client.get("/api" + path.format(id=write()["id"]), headers=bob)
    assert (answer.headers["Cache-Control"], answer.headers.get("Cache-Tag")) == ("private, no-store", None)


def test_neither_may_what_is_not_found(client: Client) -> None:
    assert client.get(f"{URL}/no-such-post").headers["Cache-Control"] == "no-store"


def test_a_write_says_what_it_touched(client: Client, write: Write, ann: Headers, bob: Headers) -> None:
    created = client.post(URL, json=body(), headers=ann)
    number = created.json["data"]["id"]
    whole = body(content="Another lantern by the river.")
    commented = client.post(f"{URL}/{number}/comments", json={"content": "Hello"}, headers=bob)
    comment = f"/api/comments/{commented.json['data']['id']}"
    answers = [
        created,
        client.put(f"{URL}/{number}", json=whole, headers=ann),
        client.patch(f"{URL}/{number}", json={"title": "Three"}, headers=ann),
        commented,
        client.patch(comment, json={"content": "Goodbye"}, headers=bob),
        client.delete(comment, headers=bob),
        client.put(f"{URL}/{number}/like", headers=bob),
        client.delete(f"{URL}/{number}/like", headers=bob),
        client.delete(f"{URL}/{number}", headers=ann),
        client.post(f"{URL}/{number}/restore", headers=ann),
        client.post(f"{URL}/{number}/restore", headers=ann),
    ]
    for answer in answers:
        assert tags(answer) == {f"post-{number}", "posts"}, answer.text


def test_a_repeated_write_touches_what_the_first_did(client: Client, ann: Headers) -> None:
    headers = ann | {"Idempotency-Key": "once"}
    first, again = (client.post(URL, json=body(), headers=headers) for _ in range(2))
    assert again.headers["Idempotency-Replayed"] == "true"
    assert tags(again) == tags(first) == {f"post-{first.json['data']['id']}", "posts"}


def facts() -> list[tuple[str, str]]:
    return [(fact.type, fact.subject) for fact in Fact.select().order_by(Fact.id)]


def test_others_hear_of_changes_to_what_is_published(client: Client, write: Write, ann: Headers, bob: Headers) -> None:
    number = write()["id"]
    client.patch(f"{URL}/{number}", json={"title": "Other"}, headers=ann)
    comment = client.post(f"{URL}/{number}/comments", json={"content": "Hello"}, headers=bob).json["data"]["id"]
    client.patch(f"{URL}/{number}", json={"status": "archived"}, headers=ann)
    client.delete(f"{URL}/{number}", headers=ann)
    assert facts() == [
        ("post.published", number),
        ("post.updated", number),
        ("comment.created", comment),
        ("post.updated", number),
        ("post.deleted", number),
    ]
    assert orjson.loads(Fact.get(Fact.type == "comment.created").data)["postId"] == number


def test_of_drafts_nobody_hears(client: Client, write: Write, ann: Headers) -> None:
    number = write(status="draft")["id"]
    client.patch(f"{URL}/{number}", json={"title": "Other"}, headers=ann)
    client.delete(f"{URL}/{number}", headers=ann)
    assert facts() == []


@pytest.mark.parametrize("kind, data", [("user.updated", {"name": "Anna"}), ("user.deleted", {})])
def test_a_new_name_of_an_author_is_told_when_it_shows(
    client: Client, write: Write, kind: str, data: dict[str, str]
) -> None:
    author = write()["author"]["id"]
    reader = feed_consumers.AuthorConsumer(service_of(client.application).get(Config))
    event = {"id": "0-1", "type": kind, "subject": author, "time": "2026-01-02T00:00:00Z", "data": data}
    reader._apply([event])
    assert facts()[-1] == ("author.updated", author)
