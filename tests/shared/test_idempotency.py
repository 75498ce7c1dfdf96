"""A POST with Idempotency-Key happens once, and says the same every time."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import FrozenClock
from tests.helpers import assert_problem
from tests.shared.conftest import AsUser, in_threads
from tests.shared.toys import resources
from tests.shared.toys.models import Fact, IdempotencyKey, Toy, idempotency

TRAIN = {"name": "train", "price": 1}
Post = Callable[..., Any]


@pytest.fixture
def post(any_client: FlaskClient, ann: dict[str, str]) -> Post:
    """Return `post(key, **members)`, which makes a toy as Ann."""

    def post(key: str = "key-1", headers: dict[str, str] = ann, path: str = "/api/toys", **members: Any) -> Any:
        return any_client.post(path, json=TRAIN | members, headers=headers | {"Idempotency-Key": key})

    return post


def counts() -> tuple[int, int]:
    return Toy.select().count(), Fact.select().count()


def test_the_same_request_gets_the_first_answer_byte_for_byte(post: Post) -> None:
    first, second, third = post(), post(), post()
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    for repeated in (second, third):
        assert repeated.status_code == 201
        assert repeated.data == first.data
        assert repeated.headers["Idempotency-Replayed"] == "true"
        for name in ("Location", "ETag", "Content-Type", "Content-Length", "Cache-Control"):
            assert repeated.headers.getlist(name) == first.headers.getlist(name)
        assert repeated.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert counts() == (1, 1)


def test_without_a_key_every_request_is_new(any_client: FlaskClient, ann: dict[str, str]) -> None:
    statuses = [any_client.post("/api/toys", json=TRAIN, headers=ann).status_code for _ in range(2)]
    assert statuses == [201, 409]
    assert IdempotencyKey.select().count() == 0


def test_another_body_with_the_same_key_is_422(post: Post) -> None:
    post()
    assert_problem(post(price=2), 422, "IDEMPOTENCY_KEY_REUSED")
    assert post().status_code == 201
    assert counts() == (1, 1)


def test_the_key_of_somebody_else_is_another_key(post: Post, as_user: AsUser) -> None:
    assert post().status_code == 201
    assert post(headers=as_user(), name="bear").status_code == 201
    assert counts() == (2, 2)


def test_an_answer_is_remembered_for_24_hours(post: Post, frozen_clock: FrozenClock, as_user: AsUser) -> None:
    user_id = "0190a0a0-0000-7000-8000-000000000000"

    def again() -> Any:
        return post(headers=as_user(user_id))

    assert again().status_code == 201
    frozen_clock.advance(hours=23, minutes=59, seconds=59)
    assert again().headers["Idempotency-Replayed"] == "true"
    frozen_clock.advance(seconds=2)
    assert_problem(again(), 409, "CONFLICT")
    assert IdempotencyKey.select().count() == 1, "the old answer is gone, the new one is kept"


@pytest.mark.parametrize("tag, status", [("refused", 403), ("aborted", 409)])
def test_a_refusal_after_validation_is_remembered_and_undoes_its_writes(post: Post, tag: str, status: int) -> None:
    first, second = post(tags=[tag]), post(tags=[tag])
    assert first.status_code == second.status_code == status
    assert first.data == second.data
    assert second.headers["Content-Type"] == "application/problem+json"
    assert second.headers["Idempotency-Replayed"] == "true"
    assert counts() == (0, 0)


def test_a_conflict_is_remembered(post: Post) -> None:
    post("first")
    refused = post("second")
    assert_problem(refused, 409, "CONFLICT")
    Toy.delete().execute()
    repeated = post("second")
    assert repeated.data == refused.data
    assert post("third").status_code == 201


def test_a_validation_error_is_not_remembered(post: Post) -> None:
    assert_problem(post(price=-1), 400, "VALIDATION_ERROR")
    assert post().status_code == 201


@pytest.mark.parametrize("tag, status, code", [("broken", 500, "INTERNAL_ERROR"), ("busy", 503, "SERVICE_UNAVAILABLE")])
def test_our_own_failure_is_not_remembered_and_undoes_everything(post: Post, tag: str, status: int, code: str) -> None:
    assert_problem(post(tags=[tag]), status, code)
    assert counts() == (0, 0)
    assert IdempotencyKey.select().count() == 0
    assert post().status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ä", "a\tb", "\x7f"])
def test_a_key_that_is_none_is_400(post: Post, key: str) -> None:
    assert_problem(post(key), 400, "BAD_REQUEST")


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "a,b;c=d", "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_a_key_is_any_visible_text(post: Post, key: str) -> None:
    assert post(key).status_code == 201
    assert post(key).headers["Idempotency-Replayed"] == "true"


def test_a_stranger_cannot_use_a_key(any_client: FlaskClient, post: Post) -> None:
    post()
    headers = {"Idempotency-Key": "key-1"}
    assert_problem(any_client.post("/api/toys", json=TRAIN, headers=headers), 401, "UNAUTHORIZED")


def test_the_key_is_free_again_after_whatever_happened(post: Post) -> None:
    for tag in ("broken", "refused", "busy", "aborted"):
        for _ in range(2):
            assert post(tag, tags=[tag]).json["code"] != "CONFLICT" or tag == "aborted"


def test_concurrent_requests_with_one_key_write_once(any_app: Flask, ann: dict[str, str]) -> None:
    for attempt in range(8):
        headers = ann | {"Idempotency-Key": f"key-{attempt}"}

        def post(_index: int, headers: dict[str, str] = headers, name: str = f"toy {attempt}") -> Any:
            return any_app.test_client().post("/api/toys", json=TRAIN | {"name": name}, headers=headers)

        answers = in_threads(5, post)
        firsts = [answer for answer in answers if answer.status_code == 201]
        made = [answer for answer in firsts if "Idempotency-Replayed" not in answer.headers]
        assert len(made) == 1
        assert {answer.data for answer in firsts} == {made[0].data}
        for answer in answers:
            if answer not in firsts:
                assert_problem(answer, 409, "CONFLICT")
    assert counts() == (8, 8)


def test_processes_with_one_key_write_once(
    any_app: Flask, ann: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process remembers of running keys does not help another: the database decides then."""
    monkeypatch.setattr(idempotency, "_running", Forgetful())

    def post(index: int) -> Any:
        headers = ann | {"Idempotency-Key": f"key-{index % 2}"}
        return any_app.test_client().post("/api/toys", json=TRAIN | {"name": f"toy {index % 2}"}, headers=headers)

    answers = in_threads(8, post)
    made = [a for a in answers if a.status_code == 201 and "Idempotency-Replayed" not in a.headers]
    assert len(made) == 2
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert counts() == (2, 2)


def test_a_view_that_wrote_and_then_refused_wrote_nothing(post: Post) -> None:
    refused = post(path="/api/odd/half")
    assert_problem(refused, 403, "FORBIDDEN")
    assert counts() == (0, 0)
    assert post(path="/api/odd/half").data == refused.data


@pytest.mark.parametrize(
    "database_url, processes", [("sqlite", 1), ("postgres", 1), ("postgres", 2)], indirect=["database_url"]
)
def test_a_second_request_is_refused_at_once_while_the_first_still_runs(
    any_app: Flask, ann: dict[str, str], monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait(_data: dict[str, Any]) -> None:
        started.set()
        go_on.wait(10)

    monkeypatch.setattr(resources, "_fail_if_wanted", wait)
    if processes > 1:
        monkeypatch.setattr(idempotency, "_running", Forgetful())

    def post(index: int) -> Any:
        if index:
            started.wait(5)
        answer = any_app.test_client().post("/api/toys", json=TRAIN, headers=ann | {"Idempotency-Key": "key-1"})
        go_on.set()
        return answer

    first, second = in_threads(2, post)
    assert first.status_code == 201
    assert_problem(second, 409, "CONFLICT")
    assert "still runs" in second.json["detail"]


class Forgetful(set[Any]):
    def __contains__(self, item: object) -> bool:
        return False
