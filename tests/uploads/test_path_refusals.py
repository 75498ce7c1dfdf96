"""What is not taken under a name of one's own, and digests of what is."""

import base64
import hashlib
from collections.abc import Callable

import pytest

from services.uploads.config import Config
from services.uploads.file_types.registry import KINDS, MAX_IMAGE, MAX_PDF
from services.uploads.models import Upload
from shared.ids import new_id
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import AsUser, Client, Headers, kept_files

OWNER = new_id()
PNG, OTHER = samples.png(), samples.png(50, 50)


@pytest.fixture
def ann(as_user: AsUser) -> Headers:
    return as_user(OWNER)


def path(name: str = "a/b.png", owner: str = OWNER) -> str:
    return f"/api/files/{owner}/{name}"


BAD_NAMES = [
    "..", "a/../b.png", "./b.png", "a//b.png", "a/", "a%5Cb.png", "a%00.png", "%7F", "%C2%85", "%E2%80%A8",
    "%20a.png", "a%20/b.png", "%FF.png", "x" * 256, "/".join(["x" * 250] * 3), "%2E%2E/x", "..%2Fx",
]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(client: Client, ann: Headers, config: Config, method: str, name: str) -> None:
    answer = client.open(path(name), method=method, data=PNG, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"path"}
    assert not kept_files(config)


BAD_BODIES = {
    "nothing": (b"", 400, "VALIDATION_ERROR"),
    "SVG": (samples.SVG, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "HTML": (samples.HTML, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a form": (samples.form(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a broken image": (PNG[:-20], 400, "INVALID_IMAGE"),
    "a polyglot": (samples.GIF_AND_SCRIPT, 400, "INVALID_IMAGE"),
    "a bomb": (samples.forged_png(60_000, 60_000), 400, "INVALID_IMAGE"),
    "a large image": (PNG + b"\0" * MAX_IMAGE, 413, "PAYLOAD_TOO_LARGE"),
    "a large PDF": (samples.pdf(11_000_000), 413, "PAYLOAD_TOO_LARGE"),
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("case", BAD_BODIES)
def test_bodies_are_looked_into_as_uploads_are(client: Client, ann: Headers, method: str, case: str) -> None:
    data, status, code = BAD_BODIES[case]
    body = assert_problem(client.open(path(), method=method, data=data, headers=ann), status, code)
    assert body.get("allowedTypes", list(KINDS)) == list(KINDS)
    assert not Upload.select().exists()


@pytest.mark.parametrize("size, status", [(MAX_PDF, 201), (MAX_PDF + 1, 413)])
@pytest.mark.parametrize("coding", ["", "chunked"])
def test_a_file_may_be_as_long_as_the_limit(client: Client, ann: Headers, size: int, status: int, coding: str) -> None:
    as_served = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": coding}
    answer = client.put(path(), data=samples.pdf(size), headers=ann, environ_overrides=as_served)
    assert answer.status_code == status


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


RIGHT: dict[str, Callable[[bytes], str]] = {
    "the digest": digest,
    "another one before": lambda data: f"sha-512=:AAAA:, {digest(data)}",
    "another one behind": lambda data: f"{digest(data)},md5=:AAAA:",
    "parameters": lambda data: f"{digest(data)};x=1",
    "only another one": lambda _data: "sha-512=:AAAA:",
}
WRONG: dict[str, str] = {
    "of other bytes": digest(b"x"),
    "too short": "sha-256=:AAAA:",
    "no bytes": "sha-256=hello",
    "no base64": "sha-256=:????:",
    "nothing": "sha-256",
    "a list": f"sha-256=({digest(b'x')[8:]})",
}


@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest"])
@pytest.mark.parametrize("case", RIGHT)
def test_a_digest_that_fits_is_taken(client: Client, ann: Headers, header: str, case: str) -> None:
    for place, body in ((path(), PNG), ("/api/upload", samples.form(PNG))):
        headers = ann | {header: RIGHT[case](body)}
        answer = client.post(place, data=body, content_type=samples.MULTIPART, headers=headers)
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("case", WRONG)
def test_a_digest_that_does_not_fit_is_refused(client: Client, ann: Headers, case: str) -> None:
    headers = ann | {"Repr-Digest": WRONG[case]}
    assert_problem(client.post(path(), data=PNG, headers=headers), 400, "BAD_REQUEST")
    assert_problem(client.put(path(), data=PNG, headers=headers), 400, "BAD_REQUEST")
    form = client.post("/api/upload", data=samples.form(PNG), content_type=samples.MULTIPART, headers=headers)
    assert_problem(form, 400, "BAD_REQUEST")
    assert not Upload.select().exists()


def test_two_digests_must_agree(client: Client, ann: Headers) -> None:
    headers = ann | {"Repr-Digest": digest(PNG), "Content-Digest": digest(OTHER)}
    assert_problem(client.post(path(), data=PNG, headers=headers), 400, "BAD_REQUEST")


def test_a_download_says_its_digest(client: Client, ann: Headers) -> None:
    client.post(path(), data=PNG, headers=ann)
    for part in ({}, {"Range": "bytes=3-9"}):
        assert client.get(path(), headers=part).headers["Repr-Digest"] == digest(PNG)
