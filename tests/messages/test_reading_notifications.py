"""Notifications over HTTP: listed, read, and nobody else's."""

from collections.abc import Callable
from typing import Any

import pytest

from services.messages.models import database
from shared.ids import new_id
from tests.feeds import ServedFeed
from tests.helpers import assert_problem
from tests.messages.conftest import AsUser, Client, waiting_for_the_log
from tests.messages.telling import (
    ANN,
    BOB,
    EVE,
    Told,
    auth_feed,
    comment,
    everything,
    notify_comment,
    posts_feed,
    read,
    register,
    settings,
    told,
)

__all__ = ["auth_feed", "posts_feed", "read", "settings", "told"]


def test_notifications_are_listed_by_page_and_cursor(
    client: Client, as_user: AsUser, auth_feed: ServedFeed, posts_feed: ServedFeed, read: Callable[[], None]
) -> None:
    everything(auth_feed, posts_feed)
    read()
    ids, path = [], "/api/notifications?limit=30"
    while path:
        answer = client.get(path, headers=as_user(ANN)).json
        assert (answer["pagination"]["total"], answer["unread"]) == (82, 82)
        ids += [item["id"] for item in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
        path = f"/api/notifications?limit=30&cursor={cursor}" if cursor else ""
    assert len(ids) == len(set(ids)) == 82
    second = client.get("/api/notifications?limit=30&page=2", headers=as_user(ANN)).json["data"]
    assert [item["id"] for item in second] == ids[30:60]
    assert_problem(client.get("/api/notifications?limit=101", headers=as_user(ANN)), 400, "VALIDATION_ERROR")


def test_reading_one_and_reading_all(client: Client, as_user: AsUser, posts_feed: ServedFeed, told: Told) -> None:
    for _ in range(3):
        notify_comment(posts_feed, comment(BOB, ANN, new_id(), (new_id(), EVE)))
    items = told(ANN)
    path = f"/api/notifications/{items[1]['id']}"
    answer = client.patch(path, json={"read": True}, headers=as_user(ANN))
    assert (answer.status_code, answer.json["data"]) == (200, items[1] | {"read": True})
    assert answer.headers["ETag"].startswith('"2.')
    assert [item["read"] for item in told(ANN)] == [False, True, False]
    assert client.patch(path, json={"read": False}, headers=as_user(ANN)).json["data"]["read"] is False
    read_all = client.post("/api/notifications/read-all", headers=as_user(ANN))
    assert (read_all.status_code, read_all.data) == (204, b"")
    assert [item["read"] for item in told(ANN)] == [True] * 3
    assert [item["read"] for item in told(EVE)] == [False] * 3


def test_two_pages_do_not_undo_each_other(client: Client, as_user: AsUser, posts_feed: ServedFeed, told: Told) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    path = f"/api/notifications/{told(ANN)[0]['id']}"
    first = client.patch(path, json={"read": True}, headers=as_user(ANN))
    stale = client.patch(path, json={"read": False}, headers=as_user(ANN) | {"If-Match": '"1"'})
    assert_problem(stale, 412, "PRECONDITION_FAILED")
    fresh = as_user(ANN) | {"If-Match": first.headers["ETag"]}
    assert client.patch(path, json={"read": False}, headers=fresh).status_code == 200


def test_somebody_elses_notification_is_not_there(
    client: Client, as_user: AsUser, posts_feed: ServedFeed, told: Told
) -> None:
    notify_comment(posts_feed, comment(BOB, ANN, new_id()))
    path = f"/api/notifications/{told(ANN)[0]['id']}"
    assert_problem(client.patch(path, json={"read": True}), 401, "UNAUTHORIZED")
    assert_problem(client.patch(path, json={"read": True}, headers=as_user(BOB)), 404, "NOT_FOUND")
    assert told(ANN)[0]["read"] is False


@pytest.mark.parametrize("path", [new_id(), "1", "%00", "x" * 500], ids=["new", "number", "NUL", "long"])
def test_what_is_no_notification_is_not_found(client: Client, as_user: AsUser, path: str) -> None:
    assert_problem(client.patch(f"/api/notifications/{path}", json={"read": True}, headers=as_user()), 404, "NOT_FOUND")


@pytest.mark.parametrize("content_type", ["", "application/json"])
def test_a_body_that_may_be_missing_may_be_empty(client: Client, as_user: AsUser, content_type: str) -> None:
    """Many clients name the type of JSON whether or not they send any."""
    headers = as_user() | {"Content-Type": content_type}
    assert client.post("/api/notifications/read-all", headers=headers).status_code == 204


@pytest.mark.parametrize("body", [{}, {"read": 1}, {"read": "true"}, {"read": None}, {"read": True, "more": 1}, []])
def test_what_is_no_change_is_refused(client: Client, as_user: AsUser, body: Any) -> None:
    assert_problem(
        client.patch(f"/api/notifications/{new_id()}", json=body, headers=as_user()), 400, "VALIDATION_ERROR"
    )


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_whoever_reads_all_waits_for_the_readers_before_it_locks_anything(
    client: Client, as_user: AsUser, auth_feed: ServedFeed, read: Callable[[], None]
) -> None:
    """They change several rows too, in another order: the two could wait for each other."""
    register(auth_feed, ann=ANN)
    read()
    answers: list[int] = []

    def read_all() -> None:
        answers.append(client.post("/api/notifications/read-all", headers=as_user(ANN)).status_code)

    with waiting_for_the_log(read_all):
        database.execute_sql("SELECT 1 FROM notification FOR UPDATE NOWAIT")
        assert answers == []
    assert answers == [204]
