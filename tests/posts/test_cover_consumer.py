"""Cover images follow uploads: one that is deleted is no cover any more."""

from typing import Any

import orjson
import pytest

from services.posts import feed_consumers
from services.posts.config import Config
from services.posts.models import Fact, FeedPosition, Post
from shared.feed.database_consumer import DatabaseConsumer
from shared.ids import new_id
from shared.service import service_of
from tests.posts.conftest import Client, Headers, Write, body, refused

URL = "/api/posts"


@pytest.fixture
def uploads(client: Client) -> DatabaseConsumer:
    """Return the reader of uploads' feed."""
    return feed_consumers.CoverConsumer(service_of(client.application).get(Config))


def tell(uploads: DatabaseConsumer, kind: str, *upload_ids: str) -> None:
    """Let the feed tell something of these uploads."""
    said = {"type": kind, "time": "2026-01-02T00:00:00Z", "data": {"userId": new_id(), "path": "/x", "private": False}}
    number = int((uploads.last_event_id or "0-0").partition("-")[2])
    events = [said | {"id": f"0-{number + 1 + place}", "subject": id} for place, id in enumerate(upload_ids)]
    uploads._apply(events)


def facts() -> list[tuple[str, str]]:
    return [(fact.type, fact.subject) for fact in Fact.select().order_by(Fact.id)]


def test_a_deleted_image_is_no_cover_any_more(client: Client, write: Write, uploads: DatabaseConsumer) -> None:
    gone, kept = new_id(), new_id()
    first, second, other = write(coverImage=gone), write(coverImage=gone), write(coverImage=kept)
    before = facts()
    tell(uploads, "upload.deleted", gone, new_id())
    for post in (first, second):
        answer = client.get(f"{URL}/{post['id']}")
        assert answer.json["data"] == post | {"coverImage": None}
        assert answer.headers["ETag"].startswith('"2.')
    assert client.get(f"{URL}/{other['id']}").json["data"] == other
    covers_listed = {item["id"]: item["coverImage"] for item in client.get(URL).json["data"]}
    assert covers_listed == {first["id"]: None, second["id"]: None, other["id"]: other["coverImage"]}
    assert sorted(facts()[len(before) :]) == sorted(("post.updated", post["id"]) for post in (first, second))
    (fact,) = Fact.select().where(Fact.type == "post.updated", Fact.subject == first["id"])
    told = orjson.loads(fact.data)
    assert (told["id"], told["title"], told["authorId"]) == (first["id"], first["title"], first["author"]["id"])
    assert (told["listed"], told["wasListed"]) == (True, True)
    assert FeedPosition.get(FeedPosition.source == "uploads").event_id == "0-2"


@pytest.mark.parametrize("kind", ["upload.created", "upload.updated"])
def test_nothing_else_takes_a_cover(client: Client, write: Write, uploads: DatabaseConsumer, kind: str) -> None:
    cover = new_id()
    post = write(coverImage=cover)
    tell(uploads, kind, cover)
    assert client.get(f"{URL}/{post['id']}").json["data"] == post


def test_a_client_that_has_not_seen_the_cover_go_does_not_bring_it_back(
    client: Client, write: Write, uploads: DatabaseConsumer, ann: Headers
) -> None:
    cover = new_id()
    post = write(coverImage=cover)
    tag = client.get(f"{URL}/{post['id']}").headers["ETag"]
    tell(uploads, "upload.deleted", cover)
    again = client.put(f"{URL}/{post['id']}", json=body(coverImage=cover), headers=ann | {"If-Match": tag})
    refused(again, 412, "PRECONDITION_FAILED", "coverImage")


def test_drafts_and_deleted_posts_lose_it_too_and_nobody_hears(
    client: Client, write: Write, uploads: DatabaseConsumer, ann: Headers
) -> None:
    cover = new_id()
    draft, deleted = write(status="draft", coverImage=cover), write(coverImage=cover)
    client.delete(f"{URL}/{deleted['id']}", headers=ann)
    before = facts()
    tell(uploads, "upload.deleted", cover)
    assert facts() == before
    restored = client.post(f"{URL}/{deleted['id']}/restore", headers=ann).json["data"]
    kept: Any = client.get(f"{URL}/{draft['id']}", headers=ann).json["data"]
    assert (restored["coverImage"], kept["coverImage"]) == (None, None)


def test_the_posts_of_an_image_are_found_by_an_index(client: Client, uploads: DatabaseConsumer) -> None:
    query = Post.select(Post.number).where(Post.cover_image == new_id())
    sql, parameters = query.sql()
    database = Post._meta.database
    if "sqlite" in type(database.obj).__name__.lower():
        plan = str(database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall())
    else:
        database.execute_sql("SET enable_seqscan = off")
        plan = str(database.execute_sql(f"EXPLAIN {sql}", parameters).fetchall())
    assert "post_cover_image" in plan
