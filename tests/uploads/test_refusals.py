"""What is not taken, and that nothing of it stays: the fixture `app` looks for rows and bytes after each test."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from services.uploads.file_types.registry import KINDS, MAX_IMAGE, MAX_PDF
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, Send
from tests.uploads.samples import BOUNDARY, END, MULTIPART, form, part

FILE = part('name="file"; filename="a.png"', samples.png())

FORMS: dict[str, tuple[bytes, str]] = {
    "no part": (END, "file"),
    "another part": (part('name="image"; filename="a.png"', samples.png()) + END, "image"),
    "a part without a name": (part('filename="a.png"', samples.png()) + END, ""),
    "two files": (FILE + FILE + END, "file"),
    "a text in place of the file": (part('name="file"', b"hello") + END, "file"),
    "no file chosen": (part('name="file"; filename=""') + END, "file"),
    "an empty file": (part('name="file"; filename="a.png"') + END, "file"),
    "only spaces as a name": (part('name="file"; filename="  "', samples.png()) + END, "file"),
    "a huge name": (part(f'name="file"; filename="{"x" * 256}"', samples.png()) + END, "file"),
    "a NUL in the name": (part('name="file"; filename="a\0.png"', samples.png()) + END, "file"),
    "an escape in the name": (part('name="file"; filename="a\x1b[2J.png"', samples.png()) + END, "file"),
    "another file": (FILE + part('name="public"; filename="b.png"', samples.png()) + END, "public"),
    "too many fields": (part('name="note"', b"x") * 21 + FILE + END, "note"),
    "a long field": (FILE + part('name="note"', b"x" * 8193) + END, "note"),
    "private twice": (FILE + part('name="private"', b"true") * 2 + END, "private"),
    "private as a file": (FILE + part('name="private"; filename="x"', b"true") + END, "private"),
    "private with another value": (FILE + part('name="private"', b"maybe") + END, "private"),
    "a very long private": (FILE + part('name="private"', b"x" * 100_000) + END, "private"),
    "private that is no UTF-8": (FILE + part('name="private"', b"\xff") + END, "private"),
    "a PDF that ends early": (part('name="file"; filename="a.pdf"', samples.pdf()[:-8]) + END, "file"),
    "a PDF with something behind": (part('name="file"; filename="a.pdf"', samples.pdf() + samples.ZIP) + END, "file"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_form_is_refused_with(client: Client, ann: Headers, case: str) -> None:
    body, field = FORMS[case]
    answer = client.post("/api/upload", data=body, content_type=MULTIPART, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {field}


BROKEN = {
    "nothing": b"",
    "no boundary": b"hello",
    "no end": FILE,
    "an end within the file": FILE[:100],
    "an end within the headers": FILE[:20],
    "no Content-Disposition": f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n".encode() + END,
    "endless headers": f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 400_000,
    "an endless preamble": b"x" * 400_000,
    "an endless epilogue": FILE + END + b"x" * 400_000,
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_body_is_refused_with(client: Client, ann: Headers, case: str) -> None:
    body = BROKEN[case]
    stream = {"input_stream": BytesIO(body), "content_length": len(body)}
    answer = client.post("/api/upload", content_type=MULTIPART, headers=ann, **stream)
    assert_problem(answer, 400, "BAD_REQUEST")


TYPES = ["", "application/json", "image/png", "multipart/form-data", "multipart/mixed; boundary=frontier"]


@pytest.mark.parametrize("content_type", TYPES)
def test_another_kind_of_body_is_refused(client: Client, ann: Headers, content_type: str) -> None:
    answer = client.post("/api/upload", data=FILE + END, content_type=content_type, headers=ann)
    assert assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")["allowedTypes"] == ["multipart/form-data"]


NOT_ALLOWED = {
    "SVG": (samples.SVG, "a.svg", "image/svg+xml"),
    "SVG that is called PNG": (samples.SVG, "a.png", "image/png"),
    "HTML": (samples.HTML, "a.html", "text/html"),
    "HTML that is called JPEG": (samples.HTML, "a.jpg", "image/jpeg"),
    "an archive": (samples.ZIP, "a.zip", "application/zip"),
    "a bitmap": (samples.BMP, "a.bmp", "image/bmp"),
    "one byte": (b"\x89", "a.png", "image/png"),
    "a PDF behind HTML": (samples.HTML + samples.pdf(), "a.pdf", "application/pdf"),
    "another RIFF file": (b"RIFF\x24\0\0\0WAVEfmt ", "a.webp", "image/webp"),
    "a word": (b"hello", "a.png", "image/png"),
}


@pytest.mark.parametrize("case", NOT_ALLOWED)
def test_what_the_bytes_are_decides_against(client: Client, ann: Headers, case: str) -> None:
    answer = client.post("/api/upload", data=form(*NOT_ALLOWED[case]), content_type=MULTIPART, headers=ann)
    assert assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")["allowedTypes"] == list(KINDS)


LIES = {"a type": ("dot.png", "text/html"), "a name": ("dot.html", "image/png"), "both": ("dot.exe", "x/y")}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_client_says_does_not_count(client: Client, ann: Headers, lie: str) -> None:
    answer = client.post("/api/upload", data=form(samples.png(), *LIES[lie]), content_type=MULTIPART, headers=ann)
    upload = answer.json["data"]
    assert upload["mimeType"] == "image/png"
    assert upload["path"].endswith(f"{upload['id']}.png")


def cut(data: bytes) -> dict[str, bytes]:
    return {"by one byte": data[:-1], "in the middle": data[: len(data) // 2], "after the head": data[:16]}


NO_IMAGES: dict[str, bytes] = (
    {
        f"a {name} that is cut {where}": data
        for name, whole in {
            "PNG": samples.png(),
            "JPEG": samples.jpeg(),
            "progressive JPEG": samples.jpeg(progressive=True),
            "WebP": samples.webp(),
            "GIF": samples.gif(3),
        }.items()
        for where, data in cut(whole).items()
        if where != "by one byte" or name in ("PNG", "WebP")  # of the others it only says that nothing follows
    }
    | {
        "a GIF that is a script": samples.GIF_AND_SCRIPT,
        "a PNG with less than it says": samples.forged_png(100, 100),
        "a PNG with two headers": samples.forged_png(10, 10, samples.chunk(b"IHDR", samples.forged_png(20, 20)[16:29])),
        "a PNG that fails a checksum": samples.png()[:-16] + b"\0\0\0\0" + samples.png()[-12:],
        "a PNG whose chunk is longer than the file": samples.png()[:33] + b"\xff\xff\xff\xffIDAT" + samples.png()[41:],
        "a PNG in a million pieces": samples.forged_png(10, 10, *[samples.chunk(b"IDAT", b"")] * 100_000),
        "a JPEG of two hundred scans": samples.many_scans(),
        "a JPEG without a scan": b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9" + b"\0" * 8,
        "a JPEG with a segment of no length": b"\xff\xd8\xff\xe0\0\0\xff\xd9" + b"\0" * 8,
        "a GIF without a frame": samples.gif()[:13] + b";",
        "a WebP whose header is empty": b"RIFF\x0c\0\0\0WEBPVP8X\0\0\0\0" + b"\0" * 8,
        "a WebP whose image is empty": b"RIFF\x0c\0\0\0WEBPVP8L\0\0\0\0" + b"\0" * 8,
        "a WebP without an image": b"RIFF\x04\0\0\0WEBP",
        "a WebP that is something else": b"RIFF\x10\0\0\0WEBPEXIF\x04\0\0\0abcd",
        "a head and noise": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
    }
)


@pytest.mark.parametrize("case", NO_IMAGES)
def test_is_no_image(send: Send, case: str) -> None:
    assert_problem(send(NO_IMAGES[case]), 400, "INVALID_IMAGE")


BOMBS = {
    "PNG": samples.forged_png(60_000, 60_000),
    "PNG of the largest numbers": samples.forged_png(2**32 - 1, 2**32 - 1),
    "PNG just above the cap": samples.forged_png(64_000, 1_001),
    "PNG without pixels": samples.forged_png(0, 10),
    "JPEG": samples.forged_jpeg(65_000, 65_000),
    "JPEG just above the cap": samples.forged_jpeg(64_000, 1_001),
    "GIF": samples.forged_gif(65_000, 65_000),
    "WebP": samples.forged_webp(16_000, 16_000),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_found_by_its_header(send: Send, case: str) -> None:
    problem = assert_problem(send(BOMBS[case]), 400, "INVALID_IMAGE")
    assert problem["detail"] == "The image must have from 1 to 64000000 pixels."


def test_an_animation_of_too_many_pixels_is_refused(send: Send) -> None:
    data = samples.forged_gif(1000, 1000)
    frame = data[samples.first_frame(data) : -1]
    problem = assert_problem(send(data[:-1] + frame * 400 + b";"), 400, "INVALID_IMAGE")
    assert problem["detail"].startswith("The image has no frames")


TOO_LARGE = {
    "an image": (samples.png() + b"\0" * MAX_IMAGE, MAX_IMAGE),
    "a PDF": (samples.pdf(MAX_PDF + 1), MAX_PDF),
    "anything": (b"%PDF-" + b"\0" * (MAX_PDF + 100_000), MAX_PDF),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_is_too_large(send: Send, case: str) -> None:
    data, limit = TOO_LARGE[case]
    assert assert_problem(send(data), 413, "PAYLOAD_TOO_LARGE")["maxSize"] == limit


def test_a_body_without_length_is_too_large_as_well(client: Client, ann: Headers) -> None:
    body = part('name="file"; filename="a.pdf"', b"%PDF-" + b"\0" * (MAX_PDF + 200_000)) + END
    terminated = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = client.post(
        "/api/upload", input_stream=BytesIO(body), content_type=MULTIPART, headers=ann, environ_overrides=terminated
    )
    assert assert_problem(answer, 413, "PAYLOAD_TOO_LARGE")["maxSize"] == MAX_PDF


@pytest.mark.parametrize("size", [MAX_PDF - 1, MAX_PDF])
def test_a_pdf_at_the_limit_is_taken(upload: Callable[..., dict[str, Any]], size: int) -> None:
    assert upload(samples.pdf(size), "a.pdf")["size"] == size


def test_an_unknown_query_is_refused(client: Client, ann: Headers) -> None:
    answer = client.post("/api/upload?public=1", data=form(), content_type=MULTIPART, headers=ann)
    assert set(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == {"public"}


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ä"])
def test_a_malformed_key_is_refused(send: Send, ann: Headers, key: str) -> None:
    assert_problem(send(headers=ann | {"Idempotency-Key": key}), 400, "BAD_REQUEST")
