"""The good days of an upload, and who may do what with it; on both databases."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.models import Fact
from shared.ids import is_id
from tests.conftest import on_sqlite
from tests.helpers import NOBODY, assert_problem
from tests.uploads import samples
from tests.uploads.conftest import AsUser, Client, Headers, Send, in_threads, kept_files, parts

UploadFile = Callable[..., dict[str, Any]]

FILES = {
    "PNG": (samples.png(), "image/png", 40, 30),
    "JPEG": (samples.jpeg(), "image/jpeg", 40, 30),
    "WebP": (samples.webp(), "image/webp", 40, 30),
    "lossless WebP": (samples.webp(lossless=True), "image/webp", 40, 30),
    "GIF": (samples.gif(), "image/gif", 40, 30),
    "animated GIF": (samples.gif(5), "image/gif", 40, 30),
    "PDF": (samples.pdf(), "application/pdf", None, None),
}


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_comes_back_as_it_was_sent(client: Client, send: Send, kind: str) -> None:
    data, mime_type, width, height = FILES[kind]
    answer = send(data, "Ferien am Meer.bin")
    upload = answer.json["data"]
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/uploads/{upload['id']}"
    assert is_id(upload["id"])
    assert (upload["mimeType"], upload["filename"], upload["private"]) == (mime_type, "Ferien am Meer.bin", False)
    assert (upload.get("width"), upload.get("height")) == (width, height)
    assert upload["path"].startswith(f"/api/files/{upload['userId']}/")
    assert upload["url"] == "http://localhost:8000" + upload["path"]
    for path in (upload["path"], f"/api/files/by-id/{upload['id']}"):
        file = client.get(path)
        assert (file.status_code, file.headers["Content-Type"], file.data) == (200, mime_type, data)
        assert (len(file.data), hashlib.sha256(file.data).hexdigest()) == (upload["size"], upload["sha256"])


def test_size_and_digest_are_of_the_bytes_that_are_stored(client: Client, upload: UploadFile, config: Config) -> None:
    data = samples.with_metadata("PNG")
    stored = upload(data)
    [key] = kept_files(config)
    kept = (config.storage_root / key).read_bytes()
    assert len(kept) < len(data)
    assert (stored["size"], stored["sha256"]) == (len(kept), hashlib.sha256(kept).hexdigest())


def test_files_and_folders_are_for_the_service_alone(upload: UploadFile, config: Config) -> None:
    upload()
    [key] = kept_files(config)
    path = config.storage_root / key
    assert [oct(place.stat().st_mode)[-3:] for place in (path, path.parent)] == ["600", "700"]


def test_the_fact_is_written_with_the_row(client: Client, upload: UploadFile, ann: Headers) -> None:
    stored = upload()
    client.delete(f"/api/uploads/{stored['id']}", headers=ann)
    facts = [(fact.type, fact.subject, orjson.loads(fact.data)["userId"]) for fact in Fact.select().order_by(Fact.id)]
    assert facts == [
        ("upload.created", stored["id"], stored["userId"]),
        ("upload.deleted", stored["id"], stored["userId"]),
    ]


def test_metadata_are_read_by_owner_and_admin(client: Client, upload: UploadFile, ann: Headers, admin: Headers) -> None:
    stored = upload()
    path = f"/api/uploads/{stored['id']}"
    assert client.get(path, headers=admin).json["data"] == stored
    answer = client.get(path, headers=ann)
    assert (answer.status_code, answer.json["data"]) == (200, stored)
    again = client.get(path, headers=ann | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


STRANGERS = {
    "a public one": ("false", 403, "FORBIDDEN"),
    "a private one": ("true", 404, "NOT_FOUND"),
}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("whose", STRANGERS)
def test_another_user_does_not_get_at(
    client: Client, upload: UploadFile, bob: Headers, method: str, whose: str
) -> None:
    private, status, code = STRANGERS[whose]
    path = f"/api/uploads/{upload(private=private)['id']}"
    assert_problem(client.open(path, method=method, headers=bob), status, code)
    assert_problem(client.open(path, method=method), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["nonsense", NOBODY, "%00", "..%2F..", "%F0%9F%90%88"])
@pytest.mark.parametrize(
    "path", ["/api/uploads/{}", "/api/files/by-id/{}", "/api/files/{}/x", f"/api/files/{NOBODY}/{{}}"]
)
def test_what_is_not_there_is_a_404(client: Client, admin: Headers, path: str, name: str) -> None:
    assert_problem(client.get(path.format(name), headers=admin), 404, "NOT_FOUND")


def test_only_the_signed_in_upload_and_list(client: Client, send: Send) -> None:
    assert_problem(send(headers={}), 401, "UNAUTHORIZED")
    assert_problem(client.get("/api/uploads"), 401, "UNAUTHORIZED")


def test_the_list_has_ones_own_newest_first(client: Client, upload: UploadFile, ann: Headers, bob: Headers) -> None:
    mine = [upload(name=f"{number}.png")["id"] for number in range(5)]
    upload(headers=bob)
    answer = client.get("/api/uploads?limit=2&page=2", headers=ann).json
    assert [item["id"] for item in answer["data"]] == mine[::-1][2:4]
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsExact"]) == (5, True)
    seen, cursor = [], answer["pagination"]["nextCursor"] and ""
    while cursor is not None:
        page = client.get("/api/uploads", query_string={"limit": 2, "cursor": cursor}, headers=ann).json
        seen += [item["id"] for item in page["data"]]
        cursor = page["pagination"]["nextCursor"]
    assert seen == mine[::-1]


@on_sqlite
@pytest.mark.parametrize("query", ["page=0", "limit=101", "cursor=x", "page=1&cursor=x", "order=asc", "page=1&page=2"])
def test_a_bad_query_of_the_list_is_refused(client: Client, ann: Headers, query: str) -> None:
    assert_problem(client.get(f"/api/uploads?{query}", headers=ann), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("who", ["ann", "admin"])
def test_delete_removes_row_and_bytes(
    request: pytest.FixtureRequest, client: Client, upload: UploadFile, config: Config, who: str
) -> None:
    stored = upload()
    headers = request.getfixturevalue(who)
    answer = client.delete(f"/api/uploads/{stored['id']}", headers=headers)
    assert (answer.status_code, answer.data) == (204, b"")
    assert not kept_files(config)
    assert_problem(client.get(stored["path"]), 404, "NOT_FOUND")
    assert_problem(client.delete(f"/api/uploads/{stored['id']}", headers=headers), 404, "NOT_FOUND")


def test_delete_minds_if_match(client: Client, upload: UploadFile, ann: Headers) -> None:
    path = f"/api/uploads/{upload()['id']}"
    tag = client.get(path, headers=ann).headers["ETag"]
    refused = client.delete(path, headers=ann | {"If-Match": '"7.abc"'})
    assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert refused.headers["ETag"] == tag
    assert client.delete(path, headers=ann | {"If-Match": tag}).status_code == 204


def test_the_same_key_and_file_give_the_first_answer_again(send: Send, ann: Headers, config: Config) -> None:
    headers = ann | {"Idempotency-Key": "one"}
    first, second = send(headers=headers), send(headers=headers)  # each with a boundary of its own
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.data, first.headers["Location"]) == (second.data, second.headers["Location"])
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(kept_files(config)) == 1


@pytest.mark.parametrize("other", [{"data": samples.png(7, 7)}, {"name": "other.png"}, {"private": "true"}])
def test_the_same_key_with_something_else_is_refused(send: Send, ann: Headers, other: dict[str, Any]) -> None:
    headers = ann | {"Idempotency-Key": "one"}
    assert send(headers=headers).status_code == 201
    assert_problem(send(headers=headers, **other), 422, "IDEMPOTENCY_KEY_REUSED")


def test_a_key_belongs_to_its_user(send: Send, ann: Headers, bob: Headers) -> None:
    answers = [send(headers=headers | {"Idempotency-Key": "one"}) for headers in (ann, bob)]
    assert len({answer.json["data"]["id"] for answer in answers}) == 2


def test_many_uploads_at_once_are_all_kept(app: Flask, as_user: AsUser, config: Config) -> None:
    def job(number: int) -> Callable[[], Any]:
        data = samples.png(20 + number, 20)
        return lambda: app.test_client().post(
            "/api/upload", data=samples.form(data), content_type=samples.MULTIPART, headers=as_user()
        )

    answers = in_threads(*(job(number) for number in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len(kept_files(config)) == 8


def test_one_key_at_the_same_time_makes_one_upload(app: Flask, ann: Headers, config: Config) -> None:
    def job() -> Any:
        headers = ann | {"Idempotency-Key": "one"}
        return app.test_client().post(
            "/api/upload", data=samples.form(), content_type=samples.MULTIPART, headers=headers
        )

    answers = in_threads(*[job] * 6)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    assert len(kept_files(config)) == 1


def test_readyz_sees_that_nothing_can_be_kept(client: Client, config: Config) -> None:
    assert parts(client) == {"database": "ok", "storage": "ok"}
    folder: Path = config.storage_root / "tmp"
    folder.rmdir()
    assert client.get("/readyz").status_code == 503
    assert parts(client) == {"database": "ok", "storage": "down"}
    folder.mkdir()


@on_sqlite
@pytest.mark.parametrize("word, private", [("on", True), ("TRUE", True), ("1", True), ("no", False), ("", False)])
def test_private_is_said_in_every_usual_way(send: Send, word: str, private: bool) -> None:
    assert send(samples.png(), private=word).json["data"]["private"] is private


def test_fields_that_are_not_ours_are_passed_over(client: Client, ann: Headers) -> None:
    """As Uppy sends them, before the file and after it."""
    notes = {"name": "dot.png", "type": "image/png", "relativePath": "null"}
    body = samples.texts(**notes) + samples.form()
    assert client.post("/api/upload", data=body, content_type=samples.MULTIPART, headers=ann).status_code == 201


@pytest.mark.parametrize(
    "name",
    [
        "می\u200cخواهم 👩\u200d👧.png",
        "Wales \U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f.png",
    ],
)
def test_a_name_keeps_its_joiners_at_a_download(client: Client, upload: UploadFile, name: str) -> None:
    stored = upload(name=name)
    assert stored["filename"] == name
    assert client.get(stored["path"]).headers["Content-Disposition"].endswith(f"''{quote(name, safe='')}")
