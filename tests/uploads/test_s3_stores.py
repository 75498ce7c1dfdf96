"""The service over S3 servers that read the protocol differently."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from services.uploads.config import Config
from services.uploads.upload_service import UploadService
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, kept_files, parts, settings_of
from tests.uploads.tus_client import Tus

UploadFile = Callable[..., dict[str, Any]]
LONG = samples.pdf(5_000_000)


@pytest.fixture(params=["s3", "rclone"])
def storage_setting(request: pytest.FixtureRequest) -> dict[str, str]:
    return settings_of(request)


def test_a_long_file_is_read_whole_and_in_parts(client: Client, upload: UploadFile) -> None:
    path = upload(LONG, "a.pdf")["path"]
    answer = client.get(path)
    assert (answer.status_code, answer.data) == (200, LONG)
    digest = base64.b64encode(hashlib.sha256(LONG).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    last = len(LONG) - 1
    for wanted, start, stop in (("0-0", 0, 1), ("1000-1999999", 1000, 2_000_000), ("-5", last - 4, last + 1)):
        answer = client.get(path, headers={"Range": f"bytes={wanted}"})
        assert (answer.status_code, answer.data) == (206, LONG[start:stop])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LONG)}"
    several = client.get(path, headers={"Range": f"bytes=0-9,{last - 9}-"})
    assert (several.status_code, several.mimetype) == (206, "multipart/byteranges")
    assert LONG[:10] in several.data
    assert LONG[-10:] in several.data
    assert client.head(path).headers["Content-Length"] == str(len(LONG))


def test_an_image_is_stored_clean_and_gives_variants(client: Client, upload: UploadFile) -> None:
    stored = upload(samples.with_metadata("JPEG"), "home.jpg")
    assert samples.SECRET not in client.get(stored["path"]).data
    for _ in range(2):
        variant = client.get(f"{stored['path']}?w=20&format=png")
        assert (variant.status_code, variant.mimetype) == (200, "image/png")


def test_a_file_is_replaced_and_deleted(client: Client, upload: UploadFile, ann: Headers, config: Config) -> None:
    stored = upload()
    path = stored["path"]
    assert client.put(path, data=LONG, headers=ann).status_code == 200
    assert client.get(path).data == LONG
    assert len(kept_files(config)) == 1
    assert client.delete(path, headers=ann).status_code == 204
    assert_problem(client.get(path), 404, "NOT_FOUND")
    assert not kept_files(config)


def test_bytes_that_are_missing_are_a_404(
    client: Client, upload: UploadFile, keeper: UploadService, ann: Headers
) -> None:
    stored = upload()
    [kept] = keeper.storage.list()
    keeper.storage.delete(kept.key)
    assert_problem(client.get(stored["path"]), 404, "NOT_FOUND")
    assert client.delete(stored["path"], headers=ann).status_code == 204


def test_a_file_that_came_in_parts_is_stored_whole(client: Client, ann: Headers) -> None:
    tus = Tus(client, ann)
    url = tus.begin(len(LONG))
    for start, stop in ((0, 2_000_000), (2_000_000, len(LONG))):
        assert tus.patch(url, start, LONG[start:stop]).status_code == 204
    about = client.get(url.replace("/tus/", "/"), headers=ann).json["data"]
    assert client.get(about["path"]).data == LONG


def test_the_store_is_healthy(client: Client, config: Config) -> None:
    for _ in range(2):
        assert parts(client) == {"database": "ok", "storage": "ok"}
    assert not kept_files(config)
