"""Resumable uploads by tus 1.0: each rule of the protocol, and what becomes of the file."""

import hashlib
from base64 import b64encode
from datetime import timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any

import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.file_types.registry import MAX_IMAGE, MAX_PDF
from services.uploads.models import Resumable, Upload
from shared import clock
from shared.concurrency import Bulkhead
from tests.conftest import on_sqlite
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, kept_files
from tests.uploads.tus_client import PART, PATH, Tus, checksum, metadata

BLOCK = 64 * 1024
CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
LONG = samples.pdf(3 * BLOCK + 100)


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


@pytest.fixture
def tus(client: Client, ann: Headers) -> Tus:
    return Tus(client, ann)


def upload_of(tus: Tus, url: str) -> Any:
    return tus.client.get(f"/api/uploads/{url.rsplit('/')[-1]}", headers=tus.headers)


def test_anybody_may_ask_what_is_offered(client: Client) -> None:
    answer = client.options(PATH)
    assert answer.status_code in (200, 204)
    assert answer.headers["Tus-Resumable"] == answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(MAX_PDF)
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "expiration", "checksum", "termination",
    }  # fmt: skip
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_a_file_in_three_parts_becomes_an_upload_with_the_same_id(tus: Tus) -> None:
    url = tus.begin(len(LONG), metadata(filename="ä.pdf", filetype="text/html", private="true"))
    assert tus.offset(url) == 0
    for start, stop in ((0, 70_000), (70_000, 70_001), (70_001, len(LONG))):
        answer = tus.patch(url, start, LONG[start:stop])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(stop))
        assert answer.headers["Tus-Resumable"] == "1.0.0"
    about = upload_of(tus, url).json["data"]
    assert url == f"{PATH}/{about['id']}"
    assert (about["filename"], about["mimeType"], about["private"]) == ("ä.pdf", "application/pdf", True)
    assert about["sha256"] == hashlib.sha256(LONG).hexdigest()
    assert tus.client.get(about["path"], headers=tus.headers).data == LONG
    assert tus.offset(url) == len(LONG)


def test_an_image_goes_the_way_of_every_image(tus: Tus) -> None:
    data = samples.with_metadata("JPEG")
    url = tus.begin(len(data), metadata(filename="home.png"))
    assert tus.patch(url, 0, data).status_code == 204
    about = upload_of(tus, url).json["data"]
    assert (about["mimeType"], about["width"], about["height"]) == ("image/jpeg", 40, 30)
    assert samples.SECRET not in tus.client.get(about["path"]).data
    assert tus.offset(url) == len(data)


def test_the_first_bytes_may_come_with_the_beginning(tus: Tus) -> None:
    answer = tus.post(len(LONG), LONG[:100_000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "100000")
    assert tus.patch(answer.headers["Location"], 100_000, LONG[100_000:]).status_code == 204
    answer = tus.post(len(LONG), LONG)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(len(LONG)))
    assert upload_of(tus, answer.headers["Location"]).status_code == 200


def test_head_tells_all_and_may_be_kept_by_nobody(tus: Tus) -> None:
    about = metadata(filename="a.pdf", private="false")
    url = tus.begin(len(LONG), about)
    tus.patch(url, 0, LONG[:5])
    answer = tus.head(url)
    headers = answer.headers
    assert (headers["Upload-Offset"], headers["Upload-Length"]) == ("5", str(len(LONG)))
    assert headers["Upload-Metadata"] == about
    assert "no-store" in headers["Cache-Control"]
    assert parsedate_to_datetime(headers["Upload-Expires"]) - clock.now() <= timedelta(hours=24)


@on_sqlite
@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.0, 1.0.1", ""])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused_and_told_ours(tus: Tus, method: str, version: str | None) -> None:
    url = PATH if method == "POST" else tus.begin(10)
    headers = {key: value for key, value in tus.headers.items() if key != "Tus-Resumable"}
    answer = tus.client.open(url, method=method, headers=headers | ({"Tus-Resumable": version} if version else {}))
    assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
    assert answer.headers["Tus-Resumable"] == "1.0.0"


@on_sqlite
@pytest.mark.parametrize("length", ["", "-1", "1.5", "0", "x", "9" * 19, "٣", "1,1"])
def test_a_length_that_is_none_is_refused(tus: Tus, length: str) -> None:
    assert_problem(tus.post(length.encode().decode("latin-1")), 400, "BAD_REQUEST")


def test_a_file_that_would_be_too_long_is_refused(tus: Tus) -> None:
    assert assert_problem(tus.post(MAX_PDF + 1), 413, "PAYLOAD_TOO_LARGE")["maxSize"] == MAX_PDF


@pytest.mark.parametrize("header", ["Upload_Defer_Length", "Upload_Concat"])
def test_what_is_not_offered_is_refused(tus: Tus, header: str) -> None:
    more: dict[str, Any] = {header: "1"}
    assert_problem(tus.post(10, **more), 400, "BAD_REQUEST")


@on_sqlite
@pytest.mark.parametrize(
    "header, code",
    [
        ("", "VALIDATION_ERROR"),
        (metadata(private="true"), "VALIDATION_ERROR"),
        (metadata(filename=""), "VALIDATION_ERROR"),
        (metadata(filename="x" * 256), "VALIDATION_ERROR"),
        (metadata(filename="a\0b"), "VALIDATION_ERROR"),
        (metadata(filename="a", private="perhaps"), "VALIDATION_ERROR"),
        (metadata(filename="a", **{f"note{n}": "" for n in range(21)}), "BAD_REQUEST"),
        (metadata(filename="a", note="x" * 4096), "BAD_REQUEST"),
        (metadata(filename="a") + ",nöte", "BAD_REQUEST"),
        (metadata(filename="a") + "," + metadata(filename="b"), "BAD_REQUEST"),
        ("filename !!!!", "BAD_REQUEST"),
        ("filename YQ", "BAD_REQUEST"),
        ("filename YQ== YQ==", "BAD_REQUEST"),
        ("filename /w==", "BAD_REQUEST"),
        ("filename 7aCA", "BAD_REQUEST"),
        ("filename \xe4", "BAD_REQUEST"),
        ("filename", "VALIDATION_ERROR"),
    ],
)
def test_metadata_are_read_strictly(tus: Tus, header: str, code: str) -> None:
    assert_problem(tus.post(10, about=header), 400, code)
    assert not Resumable.select().exists()


UPPY = {"relativePath": "null", "name": "Ünï 1.pdf", "type": "application/pdf", "filetype": "application/pdf"}


@pytest.mark.parametrize(
    "about, filename, private",
    [
        (metadata(**UPPY), "Ünï 1.pdf", False),
        (metadata(**UPPY, filename="b.pdf"), "b.pdf", False),
        (metadata(name="a.pdf", filename=""), "a.pdf", False),
        (metadata(name="a.pdf") + ", is_confidential,", "a.pdf", False),
        (metadata(name="a.pdf", private="") + ",raw /w==", "a.pdf", False),
        (metadata(name="a.pdf", private="On"), "a.pdf", True),
    ],
)
def test_metadata_are_as_clients_send_them(tus: Tus, about: str, filename: str, private: bool) -> None:
    url = tus.begin(len(LONG), about)
    assert tus.head(url).headers["Upload-Metadata"] == about
    assert tus.patch(url, 0, LONG).status_code == 204
    stored = tus.client.get(url.replace("/tus/", "/"), headers=tus.headers).json["data"]
    assert (stored["filename"], stored["private"]) == (filename, private)


@on_sqlite
@pytest.mark.parametrize("offset", ["", "x", "-1", "1e3", "9" * 30])
def test_an_offset_that_is_none_is_refused(tus: Tus, offset: str) -> None:
    assert_problem(tus.patch(tus.begin(10), offset, b"%PDF-"), 400, "BAD_REQUEST")


def test_another_offset_is_a_conflict_and_changes_nothing(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:100])
    for offset in (0, 99, 101, len(LONG), MAX_PDF):
        assert_problem(tus.patch(url, offset, LONG[:10]), 409, "CONFLICT")
    assert tus.offset(url) == 100


@on_sqlite
@pytest.mark.parametrize("kind", ["application/octet-stream", "", "multipart/form-data", "application/pdf"])
def test_another_content_type_is_refused(tus: Tus, kind: str) -> None:
    url = tus.begin(len(LONG))
    body = assert_problem(tus.patch(url, 0, LONG, kind), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert body["allowedTypes"] == [PART]
    assert tus.offset(url) == 0
    headers = tus.headers | {"Upload-Length": "10", "Upload-Metadata": metadata(filename="a.pdf")}
    assert_problem(
        tus.client.post(PATH, data=b"%PDF-", headers=headers, content_type=kind), 415, "UNSUPPORTED_MEDIA_TYPE"
    )


def test_more_than_the_file_has_is_refused(tus: Tus) -> None:
    url = tus.begin(10)
    body = assert_problem(tus.patch(url, 0, b"%PDF-123456"), 413, "PAYLOAD_TOO_LARGE")
    assert body["maxSize"] == 10
    assert tus.offset(url) == 0
    assert_problem(tus.post(10, b"%PDF-123456"), 413, "PAYLOAD_TOO_LARGE")


def test_more_than_the_file_has_is_refused_in_chunks_too(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    answer = tus.client.patch(
        url,
        headers=tus.headers | {"Upload-Offset": "0"},
        content_type=PART,
        input_stream=BytesIO(LONG + b"x"),
        environ_overrides=CHUNKED,
    )
    assert assert_problem(answer, 413, "PAYLOAD_TOO_LARGE")["maxSize"] == len(LONG)
    assert upload_of(tus, url).status_code == 404
    assert tus.offset(url) < len(LONG)


def test_a_file_in_chunks_may_end_where_it_ends(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    answer = tus.client.patch(
        url,
        headers=tus.headers | {"Upload-Offset": "0"},
        content_type=PART,
        input_stream=BytesIO(LONG),
        environ_overrides=CHUNKED,
    )
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(LONG)))


def test_a_checksum_that_fits_is_taken(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    assert tus.patch(url, 0, LONG[:99_999], **checksum(LONG[:99_999])).status_code == 204
    sha256 = "sha256 " + b64encode(hashlib.sha256(LONG[99_999:]).digest()).decode()
    assert tus.patch(url, 99_999, LONG[99_999:], Upload_Checksum=sha256).status_code == 204
    assert upload_of(tus, url).status_code == 200


def test_a_checksum_that_does_not_fit_keeps_nothing_of_the_part(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:10])
    answer = tus.patch(url, 10, LONG[10:], **checksum(LONG[11:]))
    assert_problem(answer, 460, "CHECKSUM_MISMATCH")
    assert tus.offset(url) == 10
    assert_problem(tus.post(len(LONG), LONG, **checksum(b"")), 460, "CHECKSUM_MISMATCH")
    assert Resumable.select().count() == 1


@on_sqlite
@pytest.mark.parametrize(
    "value", ["", "sha1", "sha1 x", "sha1 é", "sha1 YQ==", "md5 1B2M2Y8AsgTpgAmY7PhCfg==", "crc32 AAAAAA=="]
)
def test_a_checksum_that_cannot_be_read_is_refused(tus: Tus, value: str) -> None:
    url = tus.begin(len(LONG))
    assert_problem(tus.patch(url, 0, LONG, Upload_Checksum=value), 400, "BAD_REQUEST")
    assert tus.offset(url) == 0


def test_an_upload_that_is_given_up_is_gone(tus: Tus, config: Config) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:100])
    assert tus.delete(url).status_code == 204
    for answer in (tus.head(url), tus.delete(url), tus.patch(url, 100, LONG[100:])):
        assert answer.status_code == 404
    assert not list((config.data_dir / "tus").iterdir())


def test_a_complete_upload_can_be_deleted_either_way(tus: Tus, config: Config) -> None:
    first, second = (tus.post(len(LONG), LONG).headers["Location"] for _ in range(2))
    assert tus.delete(first).status_code == 204
    assert tus.client.delete(second.replace("/tus", ""), headers=tus.headers).status_code == 204
    assert (tus.head(first).status_code, tus.head(second).status_code) == (404, 404)
    assert not kept_files(config)


def test_an_upload_is_its_owners_only(tus: Tus, bob: Headers, admin: Headers) -> None:
    url = tus.begin(len(LONG))
    for other in (Tus(tus.client, bob), Tus(tus.client, admin)):
        assert [other.head(url).status_code, other.delete(url).status_code] == [404, 404]
        assert_problem(other.patch(url, 0, LONG), 404, "NOT_FOUND")
    assert_problem(Tus(tus.client, {}).patch(url, 0, LONG), 401, "UNAUTHORIZED")
    assert tus.offset(url) == 0


@pytest.mark.parametrize("name", ["x", "..%2fuploads.db", "0198" + "0" * 32])
def test_an_id_that_is_none_is_not_found(tus: Tus, name: str) -> None:
    assert_problem(tus.patch(f"{PATH}/{name}", 0, LONG), 404, "NOT_FOUND")


def test_a_query_is_refused(tus: Tus) -> None:
    assert_problem(tus.patch(tus.begin(10) + "?private=true", 0, b"%PDF-"), 400, "VALIDATION_ERROR")


def test_what_has_expired_is_gone(tus: Tus) -> None:
    url = tus.begin(len(LONG))
    Resumable.update(expires_at=clock.now() - timedelta(seconds=1)).execute()
    assert tus.head(url).status_code == 404
    assert_problem(tus.patch(url, 0, LONG), 404, "NOT_FOUND")


REFUSED = {
    "no type that is taken": (samples.HTML * 10, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a short one": (b"GIF", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "an image that is cut off": (samples.png(300, 300)[:-20], 400, "INVALID_IMAGE"),
    "a PDF that is cut off": (LONG[:-20], 400, "VALIDATION_ERROR"),
}


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_refused_leaves_nothing(tus: Tus, config: Config, case: str, parts: int) -> None:
    data, status, code = REFUSED[case]
    url, step = tus.begin(len(data)), -(-len(data) // parts)
    answers = []
    for start in range(0, len(data), step):
        answers.append(tus.patch(url, start, data[start : start + step]))
        if answers[-1].status_code != 204:
            break
    assert_problem(answers[-1], status, code)
    assert tus.head(url).status_code == 404
    assert not Resumable.select().exists()
    assert not list((config.data_dir / "tus").iterdir())
    assert_problem(tus.post(len(data), data), status, code)
    assert not Resumable.select().exists()


def test_a_file_that_is_too_long_for_its_type_is_refused_at_its_start(tus: Tus) -> None:
    url = tus.begin(MAX_IMAGE + 1)
    body = assert_problem(tus.patch(url, 0, samples.png(300, 300)), 413, "PAYLOAD_TOO_LARGE")
    assert body["maxSize"] == MAX_IMAGE
    assert tus.head(url).status_code == 404


def test_nothing_is_refused_for_a_moments_trouble(tus: Tus, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples.png(300, 300)
    url = tus.begin(len(data))
    tus.patch(url, 0, data[:100])
    taken = Bulkhead(1, patience=0, detail="Busy.")
    with monkeypatch.context() as patched, taken.place():
        patched.setattr("services.uploads.imaging.worker_pool.PATIENCE", 0.0)
        patched.setattr("services.uploads.imaging.worker_pool._places", taken)
        assert_problem(tus.patch(url, 100, data[100:]), 503, "SERVICE_UNAVAILABLE")
    assert tus.offset(url) == 100
    assert tus.patch(url, 100, data[100:]).status_code == 204


def test_a_key_begins_one_upload(tus: Tus) -> None:
    first, second = (tus.post(len(LONG), LONG[:100], Idempotency_Key="one") for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert second.headers["Upload-Offset"] == "100"
    assert_problem(tus.post(len(LONG), LONG[:101], Idempotency_Key="one"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert Resumable.select().count() == 1


def test_nothing_more_comes_after_the_end(tus: Tus) -> None:
    url = tus.post(len(LONG), LONG).headers["Location"]
    assert tus.patch(url, len(LONG), b"").status_code == 204
    assert_problem(tus.patch(url, len(LONG), b"x"), 413, "PAYLOAD_TOO_LARGE")
    assert Upload.select().count() == 1
