"""Pictures made of images: their sizes, and that each is made once, kept within bounds and gone with its original."""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image, ImageCms

from services.uploads.config import Config
from services.uploads.imaging import worker_pool
from services.uploads.maintenance.garbage_collection import sweep_variants
from services.uploads.maintenance.user_deletion import OwnerConsumer
from services.uploads.models import Upload
from services.uploads.storage import variant_cache as variants
from services.uploads.storage.variant_cache import DIGEST, VariantCache
from services.uploads.upload_service import UploadService
from shared.ids import new_id
from shared.problems import Problem
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, Send, in_threads

UploadFile = Callable[..., dict[str, Any]]


@pytest.fixture
def image(upload: UploadFile) -> dict[str, Any]:
    return upload(samples.png(400, 300))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the variants that are made."""
    names: list[str] = []
    usual = worker_pool.scaled

    def scaled(image: Any, kind: Any, variant: Any, client: str) -> bytes:
        names.append(variant.name)
        time.sleep(0.05)
        return usual(image, kind, variant, client)

    monkeypatch.setattr(worker_pool, "scaled", scaled)
    return names


def kept(config: Config) -> list[str]:
    return sorted(path.name for path in (config.data_dir / "variants").glob("*/*/*"))


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


SIZES = {
    "w=100": (100, 75),
    "h=100": (133, 100),
    "w=100&h=100": (100, 75),
    "w=100&h=100&fit=contain": (100, 75),
    "w=100&h=100&fit=cover": (100, 100),
    "w=100&fit=cover": (100, 75),
    "w=2000&h=2000": (400, 300),
    "w=500&h=600&fit=cover": (500, 600),
    "w=1&h=2000&fit=cover": (1, 2000),
    "w=1": (1, 1),
    "fit=contain": (400, 300),
    "format=png": (400, 300),
}


@pytest.mark.parametrize("query", SIZES)
def test_a_variant_has_the_size_that_was_asked_for(client: Client, image: dict[str, Any], query: str) -> None:
    for path in (image["path"], f"/api/files/by-id/{image['id']}"):
        answer = client.get(f"{path}?{query}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert opened(answer.data).size == SIZES[query]


FORMATS = {"webp": ("image/webp", "WEBP"), "jpeg": ("image/jpeg", "JPEG"), "png": ("image/png", "PNG")}
SOURCES: dict[str, bytes] = {
    "JPEG": samples.jpeg(),
    "CMYK": samples.encoded(samples.picture(mode="CMYK"), "JPEG"),
    "grey": samples.encoded(samples.picture(mode="L"), "JPEG"),
    "RGBA": samples.encoded(samples.picture(mode="RGBA"), "PNG"),
    "LA": samples.encoded(samples.picture(mode="LA"), "PNG"),
    "1": samples.encoded(samples.picture(mode="1"), "PNG"),
    "P": samples.encoded(samples.picture(mode="P"), "PNG", transparency=0),
    "16 bits": samples.encoded(samples.picture(mode="L").convert("I").point(lambda v: v * 256).convert("I;16"), "PNG"),
    "WebP": samples.webp(),
    "GIF": samples.gif(),
    "animation": samples.gif(5),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_image_becomes_every_format(client: Client, upload: UploadFile, source: str, format: str) -> None:
    stored = upload(SOURCES[source])
    answer = client.get(f"{stored['path']}?w=20&format={format}")
    mime_type, name = FORMATS[format]
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, mime_type)
    assert answer.headers["Content-Disposition"].startswith("inline")
    picture = opened(answer.data)
    assert (picture.format, picture.size) == (name, (20, 15))
    grey = picture.convert("RGBA").convert("L")
    assert abs(grey.getpixel((17, 13)) - 220) < 40, "the light corner"  # type: ignore[operator]


def test_a_variant_needs_no_profile(client: Client, upload: UploadFile) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("RGB", "CMYK", "L"):
        stored = upload(samples.encoded(samples.picture(mode=mode), "JPEG", icc_profile=profile))
        variant = opened(client.get(f"{stored['path']}?w=20").data)
        assert "icc_profile" not in variant.info  # it is in sRGB, which is what viewers take it for


def test_without_a_format_an_image_keeps_its_own(client: Client, upload: UploadFile) -> None:
    own = {"image/jpeg": samples.jpeg(), "image/webp": samples.webp(), "image/png": samples.gif()}
    for mime_type, data in own.items():
        assert client.get(f"{upload(data)['path']}?w=20").headers["Content-Type"] == mime_type


OUT_OF_RANGE = [
    "w=0",
    "w=2001",
    "h=2001",
    "w=-1",
    "w=1.5",
    "w=x",
    "fit=fill&w=5",
    "format=gif",
    "format=svg",
    "w=5&w=6",
]


@pytest.mark.parametrize("query", OUT_OF_RANGE)
def test_what_is_out_of_range_is_refused(client: Client, image: dict[str, Any], config: Config, query: str) -> None:
    assert_problem(client.get(f"{image['path']}?{query}"), 400, "VALIDATION_ERROR")
    assert not kept(config)


def test_a_pdf_has_no_variants(client: Client, upload: UploadFile) -> None:
    answer = client.get(f"{upload(samples.pdf())['path']}?w=5&format=png")
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"w", "format"}


def test_a_variant_is_made_once_however_many_ask(app: Flask, image: dict[str, Any], made: list[str]) -> None:
    jobs = [lambda: app.test_client().get(f"{image['path']}?w=50&format=webp")] * 6
    answers = in_threads(*jobs)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1
    assert made == ["50x38.webp"]


def test_whoever_asks_for_variants_leaves_a_place_to_uploads(
    app: Flask, image: dict[str, Any], send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, sent = threading.Event(), threading.Event()
    usual = worker_pool.Decoder.ask

    def ask(self: Any, file: Any, **job: Any) -> Any:
        if job["work"] == "scale":
            begun.set()
            sent.wait(10)
        return usual(self, file, **job)

    def send_meanwhile() -> Any:
        begun.wait(10)
        time.sleep(0.2)  # in which the others come to wait
        try:
            return send(samples.png(5, 5))
        finally:
            sent.set()

    monkeypatch.setattr(worker_pool, "PATIENCE", 5.0)
    monkeypatch.setattr(worker_pool.Decoder, "ask", ask)
    strangers = [lambda width=width: app.test_client().get(f"{image['path']}?w={width}") for width in (10, 20, 30)]
    assert [answer.status_code for answer in in_threads(send_meanwhile, *strangers)] == [201, 200, 200, 200]


def test_only_so_many_requests_wait_for_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "WAITING", 2)
    cache = VariantCache(tmp_path, 1000)

    def make(depth: int) -> bytes:
        if depth:
            cache.get(f"{depth}/image.png", "1x1.png", lambda: make(depth - 1)).close()
        return b"x"

    with pytest.raises(Problem, match="SERVICE_UNAVAILABLE"):
        make(3)
    make(2)


def test_wishes_that_come_to_the_same_share_a_variant(client: Client, image: dict[str, Any], made: list[str]) -> None:
    for query in ("w=100", "w=100&h=1000", "h=75", "w=100&format=png&fit=contain"):
        assert client.get(f"{image['path']}?{query}").status_code == 200
    assert made == ["100x75.png"]


def test_one_that_fails_does_not_stop_the_next(
    client: Client, image: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "scaled", lambda *_args: 1 / 0)
    assert_problem(client.get(f"{image['path']}?w=5"), 500, "INTERNAL_ERROR")
    monkeypatch.undo()
    assert client.get(f"{image['path']}?w=5").status_code == 200


def test_a_variant_has_a_tag_and_a_digest_of_its_own(client: Client, image: dict[str, Any], made: list[str]) -> None:
    paths = [image["path"], *(f"{image['path']}?{query}" for query in ("w=50", "w=51", "w=50&format=webp"))]
    assert len({client.get(path).headers["ETag"] for path in paths}) == 4
    first, again = client.get(paths[1]), client.get(paths[1])
    assert first.headers["ETag"] == again.headers["ETag"]
    digest = base64.b64encode(hashlib.sha256(first.data).digest()).decode()
    assert first.headers["Repr-Digest"] == again.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    head = client.head(paths[1])
    assert (head.headers["Content-Length"], head.data) == (str(len(first.data)), b"")
    assert head.headers["Repr-Digest"] == first.headers["Repr-Digest"]
    part = client.get(paths[1], headers={"Range": "bytes=3-9", "If-Range": first.headers["ETag"]})
    assert (part.status_code, part.data) == (206, first.data[3:10])
    assert_problem(client.get(paths[1], headers={"Range": "bytes=99999-"}), 416, "RANGE_NOT_SATISFIABLE")
    made.clear()
    unmade = f"{image['path']}?w=52"
    told = client.head(unmade).headers
    assert "Content-Length" not in told
    assert client.get(unmade, headers={"If-None-Match": told["ETag"]}).status_code == 304
    assert_problem(client.get(unmade, headers={"If-Match": '"other"'}), 412, "PRECONDITION_FAILED")
    assert not made


def test_a_variant_of_a_private_image_is_private(client: Client, upload: UploadFile, ann: Headers) -> None:
    stored = upload(private="true")
    path = f"{stored['path']}?w=5"
    assert client.get(path, headers=ann).headers["Cache-Control"] == "private, no-store"
    assert_problem(client.get(path), 404, "NOT_FOUND")
    link = client.post(f"/api/uploads/{stored['id']}/sign", json={"expiresIn": 9}, headers=ann).json["data"]["url"]
    assert client.get(link.removeprefix("http://localhost:8000") + "&w=5").status_code == 200


@pytest.mark.parametrize("how", ["DELETE id", "DELETE path", "PUT", "user"])
def test_variants_go_with_their_original(
    keeper: UploadService, client: Client, image: dict[str, Any], ann: Headers, config: Config, how: str
) -> None:
    client.get(f"{image['path']}?w=5")
    assert kept(config) == ["5x4.png"]
    if how == "user":
        reader = OwnerConsumer(config, keeper)
        reader._apply([{"id": "0-1", "type": "user.deleted", "subject": image["userId"], "data": {}}])
    elif how == "PUT":
        client.put(image["path"], data=samples.png(300, 300), headers=ann)
    else:
        path = f"/api/uploads/{image['id']}" if how == "DELETE id" else image["path"]
        assert client.delete(path, headers=ann).status_code == 204
    assert not kept(config)
    if how == "PUT":
        assert opened(client.get(f"{image['path']}?w=5").data).size == (5, 5)


def test_a_variant_made_while_its_original_goes_is_not_kept(
    app: Flask, client: Client, image: dict[str, Any], ann: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = worker_pool.scaled

    def slow(*args: Any) -> bytes:
        data = usual(*args)
        in_threads(lambda: app.test_client().delete(image["path"], headers=ann))  # a request of its own
        return data

    monkeypatch.setattr(worker_pool, "scaled", slow)
    assert client.get(f"{image['path']}?w=5").status_code == 200
    assert not kept(config)


def test_what_a_crash_left_is_swept(
    keeper: UploadService, client: Client, image: dict[str, Any], config: Config
) -> None:
    client.get(f"{image['path']}?w=5")
    variants = keeper.variants
    for key in (f"{new_id()}/{new_id()}.png", f"{image['userId']}/{new_id()}.png"):
        variants.get(key, "9x9.png", lambda: b"x").close()
    sweep_variants(variants)
    assert kept(config) == ["5x4.png"]
    assert Upload.select().count() == 1


def test_a_full_disk_is_no_reason_not_to_show_it(
    client: Client, image: dict[str, Any], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    answer = client.get(f"{image['path']}?w=5")
    assert (answer.status_code, opened(answer.data).size) == (200, (5, 4))
    assert not kept(config)
    assert not list((config.data_dir / "variants" / "tmp").iterdir())


def put(cache: VariantCache, name: str, size: int = 100) -> None:
    cache.get(f"{name}/image.png", "1x1.png", lambda: b"x" * (size - DIGEST)).close()


def names(root: Path) -> set[str]:
    return {path.parent.parent.name for path in root.glob("*/*/*")}


def test_the_cache_is_bounded_and_what_was_not_read_for_longest_goes(tmp_path: Path) -> None:
    cache = VariantCache(tmp_path, 300)
    for name in "abc":
        put(cache, name)
    put(cache, "a")
    put(cache, "d")
    assert names(tmp_path) == {"a", "c", "d"}
    put(cache, "e", 250)
    assert names(tmp_path) == {"e"}
    put(cache, "f", 301)
    assert names(tmp_path) == set()


def test_the_bound_and_the_order_outlive_the_process(tmp_path: Path) -> None:
    cache = VariantCache(tmp_path, 300)
    for age, name in enumerate("abc"):
        put(cache, name)
        os.utime(tmp_path / name / "image.png" / "1x1.png", (1000 - age, 1000 - age))
    put(cache, "b")
    later = VariantCache(tmp_path, 200)
    later.recount()
    assert names(tmp_path) == {"a", "b"}
    later.discard("b/image.png")
    put(later, "d")
    assert names(tmp_path) == {"a", "d"}


def test_a_file_that_is_no_variant_is_made_again(tmp_path: Path) -> None:
    cache = VariantCache(tmp_path, 300)
    put(cache, "a")
    path = tmp_path / "a" / "image.png" / "1x1.png"
    path.write_bytes(b"torn")
    kept = cache.get("a/image.png", "1x1.png", lambda: b"new")
    assert b"".join(kept.open(1, 3)) == b"ew"
    kept.close()
