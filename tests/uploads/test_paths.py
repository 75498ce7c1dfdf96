"""Files under names of one's own: created, replaced and deleted where a client says; on both databases."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.models import Fact, Upload, database
from services.uploads.upload_service import UploadService
from shared.ids import new_id
from shared.service import service_of
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import AsUser, Client, Headers, in_threads, kept_files

OWNER = new_id()
PNG, OTHER = samples.png(), samples.png(50, 50)


@pytest.fixture
def storage_setting(any_storage: dict[str, str]) -> dict[str, str]:
    return any_storage


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


@pytest.fixture
def ann(as_user: AsUser) -> Headers:
    return as_user(OWNER)


def path(name: str = "a/b.png", owner: str = OWNER) -> str:
    return f"/api/files/{owner}/{name}"


def test_a_file_is_created_read_replaced_and_deleted(client: Client, ann: Headers, config: Config) -> None:
    created = client.post(path(), data=PNG, headers=ann)
    upload = created.json["data"]
    assert (created.status_code, created.headers["Location"], upload["path"]) == (201, path(), path())
    assert (upload["filename"], upload["mimeType"], upload["private"]) == ("b.png", "image/png", False)
    replaced = client.put(path(), data=samples.pdf(), headers=ann)
    now = replaced.json["data"]
    assert (replaced.status_code, now["id"], now["mimeType"]) == (200, upload["id"], "application/pdf")
    assert replaced.headers["Content-Location"] == f"/api/uploads/{upload['id']}"
    assert (now["createdAt"], "width" in now, now["size"]) == (upload["createdAt"], False, len(samples.pdf()))
    for address in (path(), f"/api/files/by-id/{upload['id']}"):
        assert client.get(address).data == samples.pdf()
    assert len(kept_files(config)) == 1
    assert client.delete(path(), headers=ann).status_code == 204
    assert_problem(client.get(path()), 404, "NOT_FOUND")
    assert_problem(client.delete(path(), headers=ann), 404, "NOT_FOUND")
    facts = [fact.type for fact in Fact.select().order_by(Fact.id)]
    assert facts == ["upload.created", "upload.updated", "upload.deleted"]


def test_a_taken_path_is_not_created_again(client: Client, ann: Headers) -> None:
    assert client.post(path(), data=PNG, headers=ann).status_code == 201
    assert_problem(client.post(path(), data=OTHER, headers=ann), 409, "CONFLICT")
    assert client.get(path()).data == PNG


def test_put_creates_what_is_not_there(client: Client, ann: Headers) -> None:
    answer = client.put(path(), data=PNG, headers=ann)
    assert (answer.status_code, answer.headers["Location"]) == (201, path())


def test_a_part_of_a_file_does_not_replace_the_whole(client: Client, ann: Headers) -> None:
    client.put(path(), data=PNG, headers=ann)
    part = client.put(path(), data=OTHER, headers=ann | {"Content-Range": f"bytes 0-{len(OTHER) - 1}/*"})
    assert_problem(part, 400, "BAD_REQUEST")
    assert client.get(path()).data == PNG


NAMES = {
    "one.png": "one.png",
    "写真/海 辺.png": "%E5%86%99%E7%9C%9F/%E6%B5%B7%20%E8%BE%BA.png",
    "صور/قطة.jpg": "%D8%B5%D9%88%D8%B1/%D9%82%D8%B7%D8%A9.jpg",
    "cafe\u0301/x.png": "caf%C3%A9/x.png",
    "👩‍👩‍👧/😀": "%F0%9F%91%A9%E2%80%8D%F0%9F%91%A9%E2%80%8D%F0%9F%91%A7/%F0%9F%98%80",
    "100%/a?b#c;d.png": "100%25/a%3Fb%23c;d.png",
    "/".join("abcdefghij" * 10): "/".join("abcdefghij" * 10),
    "...": "...",
    "x" * 255: "x" * 255,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_have_any_depth_and_script(client: Client, ann: Headers, name: str) -> None:
    stored = client.post(path(quote(name)), data=PNG, headers=ann).json["data"]
    assert stored["path"] == path(NAMES[name])
    assert stored["url"] == "http://localhost:8000" + path(NAMES[name])
    for spelling in (quote(name), NAMES[name]):
        assert client.get(path(spelling)).data == PNG
    assert_problem(client.post(path(NAMES[name]), data=PNG, headers=ann), 409, "CONFLICT")
    assert client.delete(path(quote(name)), headers=ann).status_code == 204


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_the_owner_writes(client: Client, ann: Headers, bob: Headers, admin: Headers, method: str) -> None:
    client.post(path(), data=PNG, headers=ann)
    data = b"" if method == "DELETE" else OTHER
    for name in ("a/b.png", "new.png"):
        assert_problem(client.open(path(name), method=method, data=data), 401, "UNAUTHORIZED")
        for headers in (bob, admin):
            answer = client.open(path(name), method=method, data=data, headers=headers)
            assert_problem(answer, 403, "FORBIDDEN")
    assert_problem(client.open(path(owner="nobody"), method=method, data=data, headers=ann), 404, "NOT_FOUND")
    assert client.get(path()).data == PNG


def test_metadata_go_here_too(client: Client, ann: Headers) -> None:
    assert client.put(path(), data=samples.with_metadata("JPEG"), headers=ann).status_code == 201
    assert samples.SECRET not in client.get(path()).data


def test_put_minds_if_match(client: Client, ann: Headers) -> None:
    created = client.post(path(), data=PNG, headers=ann)
    of_file, of_row = client.get(path()).headers["ETag"], created.headers["ETag"]
    assert_problem(client.put(path("new"), data=PNG, headers=ann | {"If-Match": "*"}), 412, "PRECONDITION_FAILED")
    for tag in (of_file, "*"):
        assert client.put(path(), data=OTHER, headers=ann | {"If-Match": tag}).status_code == 200
    assert client.get(path()).headers["ETag"].startswith('"3.')
    refused = client.put(path(), data=PNG, headers=ann | {"If-Match": of_file})
    for tag in (of_row, '"x"'):
        refused = client.put(path(), data=PNG, headers=ann | {"If-Match": tag})
        assert_problem(refused, 412, "PRECONDITION_FAILED")
        assert refused.headers["ETag"].startswith('"3.')
        assert_problem(client.delete(path(), headers=ann | {"If-Match": tag}), 412, "PRECONDITION_FAILED")
    assert client.put(path(), data=PNG, headers=ann | {"If-Match": refused.headers["ETag"]}).status_code == 200
    assert_problem(client.put(path(), data=PNG, headers=ann | {"If-None-Match": "*"}), 412, "PRECONDITION_FAILED")
    assert client.put(path("new"), data=PNG, headers=ann | {"If-None-Match": "*"}).status_code == 201


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
def test_post_minds_if_match(client: Client, ann: Headers, key: Headers) -> None:
    for tag in ("*", '"1.0"'):
        refused = client.post(path(), data=PNG, headers=ann | key | {"If-Match": tag})
        assert_problem(refused, 412, "PRECONDITION_FAILED")
    assert client.get(path()).status_code == 404
    for _ in range(2 if key else 1):
        answer = client.post(path(), data=PNG, headers=ann | key | {"If-None-Match": "*"})
        assert answer.status_code == 201
    assert_problem(client.post(path(), data=PNG, headers=ann | {"If-None-Match": "*"}), 412, "PRECONDITION_FAILED")


def test_put_and_delete_mind_the_date_and_the_tag(client: Client, ann: Headers) -> None:
    client.post(path(), data=PNG, headers=ann)
    early, late = "Mon, 01 Jan 2001 00:00:00 GMT", "Thu, 31 Dec 2099 00:00:00 GMT"
    tag = client.get(path()).headers["ETag"]
    for header in ({"If-Unmodified-Since": early}, {"If-None-Match": tag}, {"If-Match": tag, "If-None-Match": "*"}):
        assert_problem(client.put(path(), data=OTHER, headers=ann | header), 412, "PRECONDITION_FAILED")
        assert_problem(client.delete(path(), headers=ann | header), 412, "PRECONDITION_FAILED")
    header = {"If-Match": tag, "If-None-Match": '"9.0"', "If-Modified-Since": late, "If-Unmodified-Since": early}
    assert client.put(path(), data=OTHER, headers=ann | header).status_code == 200
    assert client.delete(path(), headers=ann | {"If-Unmodified-Since": late}).status_code == 204


def test_one_of_many_replacements_of_a_version_is_made(app: Flask, client: Client, ann: Headers) -> None:
    client.post(path(), data=PNG, headers=ann)
    headers = ann | {"If-Match": client.get(path()).headers["ETag"]}
    jobs = [lambda n=n: app.test_client().put(path(), data=samples.png(60, n), headers=headers) for n in range(50, 56)]
    assert sorted(answer.status_code for answer in in_threads(*jobs)) == [200] + [412] * 5


def test_one_of_many_creations_is_made(app: Flask, ann: Headers) -> None:
    jobs = [lambda n=n: app.test_client().post(path(), data=samples.png(60, n), headers=ann) for n in range(50, 56)]
    assert sorted(answer.status_code for answer in in_threads(*jobs)) == [201] + [409] * 5


def test_many_replacements_all_count(app: Flask, ann: Headers, config: Config) -> None:
    jobs = [lambda n=n: app.test_client().put(path(), data=samples.png(60, n), headers=ann) for n in range(50, 56)]
    assert sorted(answer.status_code for answer in in_threads(*jobs)) == [200] * 5 + [201]
    assert len(kept_files(config)) == 1
    assert Upload.get().version == 6


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
def test_a_download_goes_on_with_the_version_it_began(client: Client, ann: Headers, change: str) -> None:
    old, new = samples.pdf(1_000_000), samples.pdf(1_000_001)
    client.post(path(), data=old, headers=ann)
    answer = client.get(path(), buffered=False)
    blocks = iter(answer.iter_encoded())
    begun = next(blocks)
    data = new if change == "PUT" else b""
    assert client.open(path(), method=change, data=data, headers=ann).status_code in (200, 204)
    assert begun + b"".join(blocks) == old
    answer.close()


def test_a_read_between_row_and_bytes_of_a_replacement_is_made_again(
    app: Flask, client: Client, ann: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = service_of(app).get(UploadService).storage
    usual = storage.open
    client.post(path(), data=PNG, headers=ann)

    def late(*args: Any) -> Any:
        monkeypatch.undo()
        app.test_client().put(path(), data=OTHER, headers=ann)
        return usual(*args)

    monkeypatch.setattr(storage, "open", late)
    answer = client.get(path())
    assert (answer.status_code, answer.data) == (200, OTHER)
    assert answer.headers["ETag"] == client.get(path()).headers["ETag"]


def test_a_version_of_the_same_second_is_another_one(client: Client, ann: Headers) -> None:
    client.post(path(), data=PNG, headers=ann)
    client.put(path(), data=OTHER, headers=ann)
    moment = client.get(path()).headers["Last-Modified"]
    assert client.get(path(), headers={"Range": "bytes=0-3", "If-Range": moment}).status_code == 200


def test_private_is_said_in_the_query_and_stays(client: Client, ann: Headers) -> None:
    assert client.put(path() + "?private=true", data=PNG, headers=ann).json["data"]["private"] is True
    assert client.put(path(), data=OTHER, headers=ann).json["data"]["private"] is True
    assert_problem(client.get(path()), 404, "NOT_FOUND")
    assert client.put(path() + "?private=false", data=OTHER, headers=ann).json["data"]["private"] is False
    assert_problem(client.put(path() + "?private=maybe", data=OTHER, headers=ann), 400, "VALIDATION_ERROR")
    assert client.get(path()).data == OTHER


def test_the_same_key_creates_once(client: Client, ann: Headers) -> None:
    headers = ann | {"Idempotency-Key": "one"}
    first, second = (client.post(path(), data=PNG, headers=headers) for _ in range(2))
    assert (first.status_code, first.data, first.headers["Location"]) == (201, second.data, second.headers["Location"])
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_problem(client.post(path(), data=OTHER, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")
    assert_problem(client.post(path("other.png"), data=PNG, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")


def test_the_quota_counts_the_difference(app: Flask, client: Client, ann: Headers) -> None:
    keeper = service_of(app).get(UploadService)
    service_of(app).add(replace(keeper, quota=3000))
    assert client.put(path(), data=samples.pdf(2000), headers=ann).status_code == 201
    assert client.put(path(), data=samples.pdf(3000), headers=ann).status_code == 200
    assert_problem(client.put(path(), data=samples.pdf(3001), headers=ann), 413, "QUOTA_EXCEEDED")
    assert_problem(client.post(path("b"), data=PNG, headers=ann), 413, "QUOTA_EXCEEDED")
    service_of(app).add(replace(keeper, quota=100))
    assert client.put(path(), data=samples.pdf(1000), headers=ann).status_code == 200
    assert client.get(path()).data == samples.pdf(1000)


def test_a_replacement_that_fails_keeps_the_old_bytes(
    client: Client, ann: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(path(), data=PNG, headers=ann)
    monkeypatch.setattr(database.obj, "commit", lambda: 1 / 0)
    assert_problem(client.put(path(), data=OTHER, headers=ann), 500, "INTERNAL_ERROR")
    monkeypatch.undo()
    assert client.get(path()).data == PNG
