from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from playhouse.test_utils import assert_query_count

from services.posts import post_queries
from services.posts.app import create_app
from services.posts.config import Config
from services.posts.models import Category, Comment, Fact, database
from shared.database.pagination import Order
from shared.identity.jwks import Jwks
from shared.ids import new_id
from shared.settings import SettingsError
from tests.conftest import FrozenClock, on_sqlite
from tests.posts.conftest import AsUser, Client, Headers, Write, at_once, refused

Say = Callable[..., dict[str, Any]]


@pytest.fixture
def post(write: Write) -> dict[str, Any]:
    return write()


@pytest.fixture
def address(post: dict[str, Any]) -> str:
    return f"/api/posts/{post['id']}/comments"


@pytest.fixture
def say(client: Client, address: str) -> Say:
    """Comment and return the comment: `say(headers, "text", parent_id)`."""

    def say(headers: Headers, content: str = "Hi", parent: str | None = None) -> dict[str, Any]:
        answer = client.post(address, json={"content": content, "parentId": parent}, headers=headers)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json["data"]
        return data

    return say


def of(comment: dict[str, Any]) -> str:
    return f"/api/comments/{comment['id']}"


def shown(client: Client, address: str, headers: Headers | None = None) -> list[tuple[str, str | None]]:
    return [(row["status"], row["content"]) for row in client.get(address, headers=headers).json["data"]]


def count(client: Client, address: str) -> int:
    return int(client.get(address.removesuffix("/comments")).json["data"]["commentCount"])


def test_the_writer_edits_for_15_minutes(
    frozen_clock: FrozenClock, client: Client, bob: Headers, ann: Headers, moderator: Headers, say: Say
) -> None:
    comment = say(bob)
    edited = client.patch(of(comment), json={"content": "Hello"}, headers=bob)
    assert (edited.status_code, edited.json["data"]["content"]) == (200, "Hello")
    for headers in (ann, moderator):
        refused(client.patch(of(comment), json={"content": "No"}, headers=headers), 403, "FORBIDDEN")
    refused(client.patch(of(comment), json={"content": "No"}), 401, "UNAUTHORIZED")
    stale = client.patch(of(comment), json={"content": "No"}, headers=bob | {"If-Match": '"1"'})
    refused(stale, 412, "PRECONDITION_FAILED", "content")
    frozen_clock.advance(minutes=14, seconds=59)
    assert client.patch(of(comment), json={"content": "Hey"}, headers=bob).status_code == 200


def test_after_15_minutes_nobody_edits(client: Client, bob: Headers, say: Say) -> None:
    comment = say(bob)
    Comment.update(created_at="2020-01-01T00:00:00.000000Z").execute()
    refused(client.patch(of(comment), json={"content": "Late"}, headers=bob), 403, "FORBIDDEN")


@on_sqlite
@pytest.mark.parametrize(
    "given, field",
    [({"content": ""}, "content"), ({"status": "deleted"}, "status"), ({"parentId": None}, "parentId")],
)
def test_a_bad_change_is_refused(client: Client, bob: Headers, say: Say, given: Any, field: str) -> None:
    refused(client.patch(of(say(bob)), json=given, headers=bob), 400, "VALIDATION_ERROR", field)


def test_who_may_delete(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, as_user: AsUser, say: Say, address: str
) -> None:
    for headers in (ann, bob, moderator):
        comment = say(bob)
        assert count(client, address) == 1
        refused(client.delete(of(comment), headers=as_user("Eve")), 403, "FORBIDDEN")
        refused(client.delete(of(comment)), 401, "UNAUTHORIZED")
        assert client.delete(of(comment), headers=headers).status_code == 204
        refused(client.delete(of(comment), headers=headers), 404, "NOT_FOUND")
        assert (shown(client, address), count(client, address)) == ([], 0)
    refused(client.delete(f"/api/comments/{new_id()}", headers=ann), 404, "NOT_FOUND")
    refused(client.delete("/api/comments/nothing", headers=ann), 404, "NOT_FOUND")


def test_who_may_delete_a_hidden_comment(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, as_user: AsUser, say: Say, address: str
) -> None:
    for headers in (ann, bob, moderator):
        comment = say(bob, "Rude")
        client.patch(of(comment), json={"status": "hidden"}, headers=moderator)
        eve = as_user("Eve")
        refused(client.delete(of(comment), headers=eve), 403, "FORBIDDEN")
        refused(client.patch(of(comment), json={"content": "No"}, headers=eve), 403, "FORBIDDEN")
        assert client.patch(of(comment), json={}, headers=eve).json["data"]["content"] is None
        assert client.delete(of(comment), headers=headers).status_code == 204
        assert shown(client, address) == []


def test_a_deleted_comment_with_replies_stays_as_a_tombstone(
    client: Client, bob: Headers, say: Say, address: str
) -> None:
    first = say(bob, "First")
    second = say(bob, "Second", first["id"])
    third = say(bob, "Third", second["id"])
    client.delete(of(first), headers=bob)
    client.delete(of(second), headers=bob)
    assert shown(client, address) == [("deleted", None), ("deleted", None), ("visible", "Third")]
    assert client.get(address).json["data"][0]["author"] is None
    assert count(client, address) == 1
    assert not Comment.select().where(Comment.content == "First").exists()
    refused(client.patch(of(first), json={"content": "Back"}, headers=bob), 404, "NOT_FOUND")
    answer = client.post(address, json={"content": "Reply", "parentId": first["id"]}, headers=bob)
    refused(answer, 400, "VALIDATION_ERROR", "parentId")
    client.delete(of(third), headers=bob)
    assert (shown(client, address), Comment.select().count(), count(client, address)) == ([], 0, 0)


def test_a_reply_races_with_a_deletion(app: Flask, client: Client, bob: Headers, say: Say, address: str) -> None:
    for _ in range(4):
        comment = say(bob)
        reply, target = {"content": "Reply", "parentId": comment["id"]}, of(comment)
        replied, deleted = at_once(
            partial(app.test_client().post, address, json=reply, headers=bob),
            partial(app.test_client().delete, target, headers=bob),
        )
        assert (replied.status_code, deleted.status_code) in ((201, 204), (400, 204))
        assert len(shown(client, address)) == (2 if replied.status_code == 201 else 0)
        assert count(client, address) == (1 if replied.status_code == 201 else 0)
        if replied.status_code == 201:
            client.delete(of(replied.json["data"]), headers=bob)


def test_moderators_hide_and_show(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, say: Say, address: str
) -> None:
    comment = say(bob, "Rude")
    for headers in (ann, bob):
        refused(client.patch(of(comment), json={"status": "hidden"}, headers=headers), 403, "FORBIDDEN")
    hidden = client.patch(of(comment), json={"status": "hidden"}, headers=moderator).json["data"]
    assert (hidden["status"], hidden["content"]) == ("hidden", "Rude")
    for headers in ({}, ann):
        assert shown(client, address, headers) == [("hidden", None)]
    for headers in (bob, moderator):
        assert shown(client, address, headers) == [("hidden", "Rude")]
    assert count(client, address) == 0
    refused(client.patch(of(comment), json={"status": "visible"}, headers=bob), 403, "FORBIDDEN")
    assert client.patch(of(comment), json={"status": "visible"}, headers=moderator).status_code == 200
    assert (shown(client, address), count(client, address)) == ([("visible", "Rude")], 1)


def test_the_queue_is_for_moderators(
    client: Client, ann: Headers, bob: Headers, moderator: Headers, say: Say, post: Any
) -> None:
    comments = [say(bob, f"Comment {number}") for number in range(4)]
    for comment in comments[:3]:
        client.patch(of(comment), json={"status": "hidden"}, headers=moderator)
    answer = client.get("/api/admin/comments?limit=2", headers=moderator).json
    assert [row["content"] for row in answer["data"]] == ["Comment 2", "Comment 1"]
    assert (answer["data"][0]["postId"], answer["pagination"]["total"]) == (post["id"], 3)
    visible = client.get("/api/admin/comments?status=visible", headers=moderator).json
    assert [row["content"] for row in visible["data"]] == ["Comment 3"]
    client.delete(f"/api/posts/{post['id']}", headers=ann)
    gone = client.get("/api/admin/comments", headers=moderator).json
    assert (gone["data"], gone["pagination"]["total"]) == ([], 0)
    refused(client.get("/api/admin/comments", headers=ann), 403, "FORBIDDEN")
    refused(client.get("/api/admin/comments"), 401, "UNAUTHORIZED")
    refused(client.get("/api/admin/comments?status=x", headers=moderator), 400, "VALIDATION_ERROR", "status")


def test_replies_stand_in_what_they_answer(client: Client, as_user: AsUser, say: Say, address: str) -> None:
    first = say(as_user("A"), "1")
    second = say(as_user("B"), "2")
    inner = say(as_user("C"), "1.1", first["id"])
    say(as_user("D"), "1.1.1", inner["id"])
    say(as_user("E"), "1.2", first["id"])
    say(as_user("F"), "2.1", second["id"])

    def outline(items: list[dict[str, Any]]) -> list[Any]:
        return [(item["content"], outline(item["replies"])) for item in items]

    one: Any = ("1", [("1.1", [("1.1.1", [])]), ("1.2", [])])
    two: Any = ("2", [("2.1", [])])
    answer = client.get(f"{address}?tree=1").json
    assert (outline(answer["data"]), answer["pagination"]["total"]) == ([one, two], 2)
    page = client.get(f"{address}?tree=1&limit=1").json
    assert outline(page["data"]) == [one]
    following = client.get(f"{address}?tree=1&limit=1&cursor={page['pagination']['nextCursor']}").json
    assert outline(following["data"]) == [two]


@pytest.mark.parametrize("roots", [1, 5])
def test_trees_cost_four_queries(client: Client, as_user: AsUser, say: Say, address: str, roots: int) -> None:
    for number in range(roots):
        comment = say(as_user(f"User {number}"))
        say(as_user(f"Other {number}"), "Reply", comment["id"])
    with assert_query_count(4):
        assert len(client.get(f"{address}?tree=1").json["data"]) == roots


def test_more_than_ten_comments_a_minute_are_too_many(
    frozen_clock: FrozenClock, client: Client, ann: Headers, bob: Headers, say: Say, address: str
) -> None:
    comments = []
    for _ in range(10):
        comments.append(say(bob))
        frozen_clock.advance(seconds=2)
    client.delete(of(comments[0]), headers=bob)
    for _ in range(2):
        answer = client.post(address, json={"content": "Hi"}, headers=bob | {"Idempotency-Key": "eleven"})
        refused(answer, 429, "RATE_LIMITED")
        assert (answer.json["retryAfter"], answer.headers["Retry-After"]) == (40, "40")
    assert count(client, address) == 9
    say(ann)
    frozen_clock.advance(seconds=40)
    say(bob)
    refused(client.post(address, json={"content": "Hi"}, headers=bob), 429, "RATE_LIMITED")


def test_racing_comments_do_not_pass_the_limit(app: Flask, bob: Headers, address: str) -> None:
    def comment() -> int:
        status: int = app.test_client().post(address, json={"content": "Hi"}, headers=bob).status_code
        return status

    assert sorted(at_once(*[comment] * 12)) == [201] * 10 + [429] * 2


@on_sqlite
def test_the_limit_can_be_switched_off(settings: dict[str, str], jwks: Jwks, bob: Headers, address: str) -> None:
    free = create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"}), lambda: jwks).test_client()
    for _ in range(12):
        assert free.post(address, json={"content": "Hi"}, headers=bob).status_code == 201


def test_production_has_limits() -> None:
    with pytest.raises(SettingsError) as caught:
        Config.load({"APP_ENV": "production", "RATELIMIT_ENABLED": "false", "INTERNAL_TOKEN": "x" * 40})
    assert "RATELIMIT_ENABLED cannot be false in production" in caught.value.mistakes


def test_a_comment_is_told_to_other_services(
    client: Client, ann: Headers, bob: Headers, say: Say, write: Write, post: Any
) -> None:
    first = say(bob)
    say(ann, "Reply", first["id"])
    draft = write(status="draft")
    client.post(f"/api/posts/{draft['id']}/comments", json={"content": "Note"}, headers=ann)
    facts = [fact for fact in Fact.select().order_by(Fact.id) if fact.type == "comment.created"]
    assert (len(facts), facts[0].subject) == (2, first["id"])
    assert f'"postAuthorId":"{post["author"]["id"]}"' in facts[1].data
    assert f'"parentAuthorId":"{first["author"]["id"]}"' in facts[1].data


@on_sqlite
@pytest.mark.parametrize(
    "query, order, index",
    [
        (lambda: post_queries.roots_of(1), post_queries.EARLIEST_COMMENT, "comment_post_id_root_number"),
        (lambda: post_queries.replies_to(1, [1, 2]), None, "comment_post_id_root_number"),
        (lambda: post_queries.comments_with("hidden"), post_queries.LATEST_COMMENT, "comment_status_number"),
        (post_queries.used_tags, post_queries.MOST_USED, "tag_post_count_id"),
        (Category.existing, post_queries.BY_SLUG, "category_slug"),
    ],
)
def test_lists_walk_an_index(app: Flask, query: Any, order: Order | None, index: str) -> None:
    sql, values = (query() if order is None else order.sort(query()).limit(20)).sql()
    plan = [row[3] for row in database.execute_sql("EXPLAIN QUERY PLAN " + sql, values)]
    assert any(index in step for step in plan), plan
