"""Several files in one request: all are kept or none; on both databases."""

from typing import Any

import pytest

from services.uploads.file_types.registry import MAX_IMAGE
from services.uploads.models import Fact, Upload, feed
from services.uploads.schemas import MAX_FILES
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, Send

FILES = [("one.png", samples.png()), ("two.pdf", samples.pdf()), ("three.jpg", samples.jpeg())]


@pytest.fixture
def storage_setting(any_storage: dict[str, str]) -> dict[str, str]:
    return any_storage


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


def test_all_files_are_kept_in_the_order_they_were_sent(client: Client, send_many: Send, ann: Headers) -> None:
    answer = send_many(FILES)
    assert answer.status_code == 201
    assert [upload["filename"] for upload in answer.json["data"]] == [name for name, _ in FILES]
    assert [client.get(upload["path"]).data for upload in answer.json["data"]] == [data for _, data in FILES]
    assert client.get("/api/uploads", headers=ann).json["pagination"]["total"] == 3
    assert Fact.select().count() == 3


def test_private_is_for_all_of_them(client: Client, send_many: Send) -> None:
    for upload in send_many(FILES, private="true").json["data"]:
        assert upload["private"] is True
        assert_problem(client.get(upload["path"]), 404, "NOT_FOUND")


BAD = {
    "another type": (samples.SVG, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a broken image": (samples.png()[:-20], 400, "INVALID_IMAGE"),
    "nothing": (b"", 400, "VALIDATION_ERROR"),
    "a cut PDF": (samples.pdf()[:-8], 400, "VALIDATION_ERROR"),
    "a large image": (samples.png() + b"\0" * MAX_IMAGE, 413, "PAYLOAD_TOO_LARGE"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_bad_file_keeps_all_others_out_and_is_named(send_many: Send, case: str) -> None:
    data, status, code = BAD[case]
    answer = send_many([FILES[0], ("bad", data), FILES[1]])
    assert set(assert_problem(answer, status, code)["errors"]) == {"files.1"}
    assert not Upload.select().exists()


def test_a_row_that_is_refused_takes_the_others_back(send_many: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, calls = feed.publish, []

    def fail_late(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError
        publish(*args)

    monkeypatch.setattr(feed, "publish", fail_late)
    assert_problem(send_many(FILES), 500, "INTERNAL_ERROR")
    assert not Upload.select().exists()


def test_there_is_a_limit_of_files(send_many: Send) -> None:
    assert len(send_many(FILES[:1] * MAX_FILES).json["data"]) == MAX_FILES
    refused = send_many(FILES[:1] * (MAX_FILES + 1))
    assert set(assert_problem(refused, 400, "VALIDATION_ERROR")["errors"]) == {"files"}
    assert set(assert_problem(send_many([]), 400, "VALIDATION_ERROR")["errors"]) == {"files"}


def test_the_fields_of_one_are_not_those_of_many(client: Client, send: Send, ann: Headers) -> None:
    answer = client.post("/api/uploads", data=samples.form(), content_type=samples.MULTIPART, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"file"}
    many = samples.form_of_many(FILES)
    answer = client.post("/api/upload", data=many, content_type=samples.MULTIPART, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"files"}


def test_the_same_key_and_files_give_the_first_answer_again(send_many: Send, ann: Headers) -> None:
    headers = ann | {"Idempotency-Key": "one"}
    first, second = send_many(FILES, headers), send_many(FILES, headers)
    assert (first.status_code, first.data) == (201, second.data)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_problem(send_many(FILES[::-1], headers), 422, "IDEMPOTENCY_KEY_REUSED")
    assert Upload.select().count() == 3


def test_only_the_signed_in_send_files(send_many: Send) -> None:
    assert_problem(send_many(FILES, {}), 401, "UNAUTHORIZED")
