"""What a download says about itself, and who gets it."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.http import parse_options_header

from services.uploads.app import open_storage
from services.uploads.config import Config
from services.uploads.file_types.registry import KINDS, PDF, PNG
from services.uploads.http import download
from services.uploads.http.byte_ranges import MAX_PARTS
from services.uploads.http.content_disposition import disposition, safe_name
from shared.concurrency import Bulkhead
from shared.service import service_of
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import AsUser, Client, Headers, kept_files

UploadFile = Callable[..., dict[str, Any]]


@pytest.fixture
def storage_setting(any_storage: dict[str, str]) -> dict[str, str]:
    return any_storage


@pytest.fixture
def image(upload: UploadFile) -> dict[str, Any]:
    return upload(samples.png(), "dot.png")


def test_an_image_is_shown_and_can_do_nothing(client: Client, image: dict[str, Any]) -> None:
    headers = client.get(image["path"]).headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"] == 'inline; filename="dot.png"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "public, max-age=300"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == f'"1.{image["sha256"][:32]}"'
    assert headers["Last-Modified"].endswith("GMT")
    assert int(headers["Content-Length"]) == image["size"]


def test_a_pdf_is_always_saved(client: Client, upload: UploadFile) -> None:
    headers = client.get(upload(samples.pdf(), "report.pdf")["path"]).headers
    assert headers["Content-Disposition"] == 'attachment; filename="report.pdf"'


def test_an_image_is_saved_on_demand(client: Client, image: dict[str, Any]) -> None:
    headers = client.get(image["path"] + "?download=1").headers
    assert headers["Content-Disposition"] == 'attachment; filename="dot.png"'
    for query in ("download=2", "download=1&download=1", "width=100"):
        assert_problem(client.get(f"{image['path']}?{query}"), 400, "VALIDATION_ERROR")


def test_long_downloads_leave_threads_to_all_else(
    app: Flask, client: Client, upload: UploadFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LONG", 1000)
    service_of(app).add(Bulkhead(2, patience=0, detail="Busy."))
    long, short = (upload(samples.pdf(size))["path"] for size in (2000, 1000))
    slow = [client.get(long, buffered=False) for _ in range(2)]
    for parts in ("bytes=0-", "bytes=0-899,900-1999"):
        assert_problem(client.get(long, headers={"Range": parts}), 503, "SERVICE_UNAVAILABLE")
    assert client.get(short).status_code == client.head(long).status_code == 200
    assert client.get(long, headers={"Range": "bytes=0-999"}).status_code == 206
    slow[0].close()
    assert [client.get(long).status_code for _ in range(3)] == [200] * 3
    slow[1].close()


def test_head_says_the_same_without_the_bytes(client: Client, image: dict[str, Any]) -> None:
    for path in (image["path"], f"/api/files/by-id/{image['id']}"):
        get, head = client.get(path), client.head(path)
        ignored = {"X-Request-ID", "Date"}
        assert head.data == b""
        assert {k: v for k, v in head.headers if k not in ignored} == {k: v for k, v in get.headers if k not in ignored}


def test_an_answer_to_credentials_is_stored_by_nobody(client: Client, image: dict[str, Any], bob: Headers) -> None:
    assert client.get(image["path"], headers=bob).headers["Cache-Control"] == "private, no-store"


def test_a_private_file_is_the_owners_and_admins(
    client: Client, upload: UploadFile, ann: Headers, bob: Headers, admin: Headers, as_user: AsUser
) -> None:
    stored = upload(private="true")
    assert stored["private"] is True
    for path in (stored["path"], f"/api/files/by-id/{stored['id']}"):
        for headers in (ann, admin):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-store")
        for headers in ({}, bob, as_user(role="moderator")):
            assert_problem(client.get(path, headers=headers), 404, "NOT_FOUND")
            assert client.head(path, headers=headers).status_code == 404
            known = headers | {"If-None-Match": f'"1.{stored["sha256"][:32]}"'}
            assert_problem(client.get(path, headers=known), 404, "NOT_FOUND")


def test_a_client_that_has_it_gets_nothing_again(client: Client, image: dict[str, Any]) -> None:
    first = client.get(image["path"])
    tag, moment = first.headers["ETag"], first.headers["Last-Modified"]
    by_tag = [{"If-None-Match": known} for known in (tag, f'"x", W/{tag}', "*")]
    for header in (*by_tag, {"If-Modified-Since": moment}, {"If-None-Match": tag, "Range": "bytes=0-1"}):
        answer = client.get(image["path"], headers=header)
        assert (answer.status_code, answer.data) == (304, b""), header
        assert answer.headers["ETag"] == tag
        assert "Content-Type" not in answer.headers
    other, early = {"If-None-Match": '"other"'}, {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}
    for header in (other, early, other | {"If-Modified-Since": moment}, {"If-Modified-Since": "yesterday"}):
        assert client.get(image["path"], headers=header).status_code == 200, header


@pytest.mark.parametrize("query", ["", "?w=10"])
@pytest.mark.parametrize("more", [{}, {"Range": "bytes=0-1"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_read_may_want_the_state_that_it_knows(
    client: Client, upload: UploadFile, query: str, more: Headers, method: str
) -> None:
    path = upload()["path"] + query
    early, late = "Mon, 01 Jan 2001 00:00:00 GMT", "Thu, 31 Dec 2099 00:00:00 GMT"
    tag = client.get(path).headers["ETag"]
    for header in (
        {"If-Match": '"9.0"'},
        {"If-Match": f"W/{tag}"},
        {"If-Unmodified-Since": early},
        {"If-Match": '"9.0"', "If-None-Match": tag},
    ):
        refused = client.open(path, method=method, headers=header | more)
        assert (refused.status_code, refused.headers["ETag"]) == (412, tag)
    for header in (
        {"If-Match": "*"},
        {"If-Match": f'"9.0", {tag}'},
        {"If-Unmodified-Since": late},
        {"If-Match": tag, "If-Unmodified-Since": early},
        {"If-Unmodified-Since": "yesterday"},
    ):
        assert client.open(path, method=method, headers=header | more).status_code in (200, 206)


def parts(size: int) -> dict[str, tuple[int, int]]:
    return {
        "bytes=0-0": (0, 1),
        "bytes=3-9": (3, 10),
        "bytes=5-": (5, size),
        "bytes=-7": (size - 7, size),
        f"bytes=0-{size * 9}": (0, size),
        f"bytes=-{size * 9}": (0, size),
        f"bytes={size - 1}-": (size - 1, size),
    }


def test_a_part_of_a_file(client: Client, image: dict[str, Any]) -> None:
    whole = client.get(image["path"]).data
    for header, (start, stop) in parts(len(whole)).items():
        answer = client.get(image["path"], headers={"Range": header})
        assert (answer.status_code, answer.data) == (206, whole[start:stop]), header
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
        assert int(answer.headers["Content-Length"]) == stop - start
        assert answer.headers["Content-Type"] == "image/png"


WHOLE = ["items=0-1", "bytes=5-2", "bytes=x-y", "bytes", "bytes=", "0-5", "bytes=--5", "bytes=1-2-3"]


@pytest.mark.parametrize("header", WHOLE)
def test_a_range_that_is_not_understood_is_ignored(client: Client, image: dict[str, Any], header: str) -> None:
    answer = client.get(image["path"], headers={"Range": header})
    assert (answer.status_code, len(answer.data)) == (200, image["size"])


SEVERAL: dict[str, list[tuple[int, int | None]]] = {
    "bytes=0-1,4-5": [(0, 2), (4, 6)],
    "bytes=-3 , 5-5\t,,7-9": [(-3, None), (5, 6), (7, 10)],
    "bytes=0-0,999999-,-1": [(0, 1), (-1, None)],
    "Bytes=" + ",".join(["1-1"] * MAX_PARTS): [(1, 2)] * MAX_PARTS,
}


@pytest.mark.parametrize("query", ["", "?format=webp"])
@pytest.mark.parametrize("header", SEVERAL)
def test_several_parts_come_in_one_body(client: Client, image: dict[str, Any], header: str, query: str) -> None:
    path = image["path"] + query
    whole = client.get(path)
    answer = client.get(path, headers={"Range": header})
    assert (answer.status_code, answer.content_length) == (206, len(answer.data))
    assert "Content-Range" not in answer.headers
    media_type, options = parse_options_header(answer.headers["Content-Type"])
    assert media_type == "multipart/byteranges"
    first, *pieces, end = answer.data.split(f"\r\n--{options['boundary']}".encode())
    assert (first, end, len(pieces)) == (b"", b"--\r\n", len(SEVERAL[header]))
    for piece, part in zip(pieces, SEVERAL[header], strict=True):
        head, content = piece.split(b"\r\n\r\n", 1)
        start, stop, _ = slice(*part).indices(len(whole.data))
        assert content == whole.data[start:stop]
        expected = f"Content-Type: {whole.mimetype}\r\nContent-Range: bytes {start}-{stop - 1}/{len(whole.data)}"
        assert head.decode().strip() == expected


@pytest.mark.parametrize("header", ["bytes=0-1,5-2", "bytes=0-,0-", "bytes=,", "bytes=" + ",".join(["1-1"] * 17)])
def test_ranges_that_are_broken_or_too_many_are_ignored(client: Client, image: dict[str, Any], header: str) -> None:
    answer = client.get(image["path"], headers={"Range": header})
    assert (answer.status_code, len(answer.data)) == (200, image["size"])


@pytest.mark.parametrize("header", ["bytes=999999-,888888-", "bytes=999999-", "bytes=999999-9999999", "bytes=-0"])
def test_a_range_outside_the_file_is_refused(client: Client, image: dict[str, Any], header: str) -> None:
    answer = client.get(image["path"], headers={"Range": header})
    assert_problem(answer, 416, "RANGE_NOT_SATISFIABLE")
    assert answer.headers["Content-Range"] == f"bytes */{image['size']}"


def test_if_range_goes_on_with_the_same_file_only(client: Client, image: dict[str, Any]) -> None:
    headers = client.get(image["path"]).headers
    status = {headers["ETag"]: 206, headers["Last-Modified"]: 206, '"other"': 200, f"W/{headers['ETag']}": 200}
    for condition, expected in status.items():
        answer = client.get(image["path"], headers={"Range": "bytes=0-3", "If-Range": condition})
        assert answer.status_code == expected, condition
    assert client.head(image["path"], headers={"Range": "bytes=0-3"}).status_code == 200


def test_a_file_that_has_gone_is_a_404(client: Client, image: dict[str, Any], ann: Headers, config: Config) -> None:
    [key] = kept_files(config)
    open_storage(config).delete(key)
    assert_problem(client.get(image["path"]), 404, "NOT_FOUND")
    assert client.delete(f"/api/uploads/{image['id']}", headers=ann).status_code == 204


NAMES = {
    "../../etc/passwd": "passwd.png",
    "..\\..\\windows\\system.ini": "system.ini.png",
    "/": "file.png",
    "...": "file.png",
    ".htaccess": "htaccess.png",
    "photo.html": "photo.html.png",
    "PHOTO.PNG": "PHOTO.PNG",
    "Grüße aus Köln.png": "Grüße aus Köln.png",
    "写真.png": "写真.png",
    "صورة.png": "صورة.png",
    "\u202egnp.exe": "gnp.exe.png",
    "a\u200b\u2028b.png": "ab.png",
    'quote" and \\backslash.png': "backslash.png",
    'say "hi"; x=y.png': 'say "hi"; x=y.png',
    "100%.png": "100%.png",
    "😀.png": "😀.png",
    "e\u0301.png": "e\u0301.png",
    "x" * 251 + ".png": "x" * 251 + ".png",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_kept_as_sent_and_saved_as_something_harmless(client: Client, upload: UploadFile, name: str) -> None:
    stored = upload(samples.png(), name)
    assert stored["filename"] == name
    header = client.get(stored["path"]).headers["Content-Disposition"]
    assert header.isascii()
    assert "\n" not in header
    value, options = parse_options_header(header)
    assert (value, options["filename"]) == ("inline", NAMES[name])
    if "filename*" in header:
        assert unquote(header.split("UTF-8''")[1]) == NAMES[name]
        plain = header.split('filename="')[1].split('"')[0]
        assert plain.isascii()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_saved_file_ends_as_its_kind_does(kind: Any) -> None:
    assert safe_name("x.svg", kind) == f"x.svg.{kind.extension}"
    assert safe_name(f"x.{kind.extensions[-1]}", kind) == f"x.{kind.extensions[-1]}"


def test_disposition_of_both_ways() -> None:
    assert disposition("a.png", PNG, attached=False) == 'inline; filename="a.png"'
    assert disposition("ä.pdf", PDF, attached=True) == "attachment; filename=\"_.pdf\"; filename*=UTF-8''%C3%A4.pdf"
