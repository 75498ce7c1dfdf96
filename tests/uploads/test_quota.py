"""How many bytes a user may have is decided by the database, whoever asks at the same time; on both."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from services.uploads.models import Upload, Usage, database
from shared.ids import new_id
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, Send, in_threads

UploadFile = Callable[..., dict[str, Any]]
SIZE = 1000
QUOTA = 3 * SIZE + 1


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url, "UPLOAD_QUOTA": str(QUOTA)}


def test_what_does_not_fit_is_refused_and_leaves_nothing(upload: UploadFile, send: Send, bob: Headers) -> None:
    for _ in range(3):
        upload(samples.pdf(SIZE))
    body = assert_problem(send(samples.pdf()), 413, "QUOTA_EXCEEDED")
    assert body["maxSize"] == QUOTA
    assert send(samples.pdf(SIZE), headers=bob).status_code == 201


def test_a_first_file_that_does_not_fit_is_refused_too(send: Send) -> None:
    assert_problem(send(samples.pdf(QUOTA + 1)), 413, "QUOTA_EXCEEDED")
    assert not Upload.select().exists()


def test_a_deletion_makes_room(client: Client, upload: UploadFile, send: Send, ann: Headers) -> None:
    stored = [upload(samples.pdf(SIZE)) for _ in range(3)]
    client.delete(f"/api/uploads/{stored[0]['id']}", headers=ann)
    assert send(samples.pdf(SIZE)).status_code == 201


def test_many_files_count_together(send_many: Send) -> None:
    files = [("a.pdf", samples.pdf(SIZE))] * 4
    assert_problem(send_many(files), 413, "QUOTA_EXCEEDED")
    assert not Upload.select().exists()
    assert send_many(files[:3]).status_code == 201


def test_the_quota_holds_for_uploads_at_the_same_time(app: Flask, ann: Headers) -> None:
    def job() -> Any:
        body = samples.form(samples.pdf(SIZE), "a.pdf")
        return app.test_client().post("/api/upload", data=body, content_type=samples.MULTIPART, headers=ann)

    statuses = [answer.status_code for answer in in_threads(*[job] * 8)]
    assert sorted(statuses) == [201] * 3 + [413] * 5


def test_bytes_that_others_have_not_committed_count_too(app: Flask) -> None:
    owner = new_id()
    Usage.create(user_id=owner, bytes=0)

    def job() -> bool:
        with database.atomic():
            fits = Usage.add(owner, SIZE, QUOTA)
            time.sleep(0.05)
        return fits

    assert sorted(in_threads(*[job] * 6)) == [False] * 3 + [True] * 3
    Usage.delete().execute()


def test_a_file_deleted_twice_at_the_same_time_is_counted_once(
    app: Flask, upload: UploadFile, ann: Headers, admin: Headers
) -> None:
    path = f"/api/uploads/{upload(samples.pdf(SIZE))['id']}"
    upload(samples.pdf(SIZE))
    jobs = [lambda who=who: app.test_client().delete(path, headers=who) for who in (ann, admin) * 3]
    assert sorted(answer.status_code for answer in in_threads(*jobs)) == [204] + [404] * 5
