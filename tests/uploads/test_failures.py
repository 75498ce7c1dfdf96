"""What fails half-way leaves neither a row nor a byte: the fixture `app` looks after each test."""

import errno
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import RawIOBase
from typing import Any, BinaryIO, cast

import peewee
import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.file_types.registry import MAX_PDF
from services.uploads.models import Upload, feed, idempotency
from services.uploads.storage.base import Storage
from services.uploads.upload_service import UploadService
from shared.service import service_of
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, Send, kept_files


@pytest.fixture
def storage_setting(any_storage: dict[str, str]) -> dict[str, str]:
    return any_storage


class FullStorage:
    """A storage in which no byte fits any more, noticed at one step."""

    def __init__(self, storage: Storage, step: str) -> None:
        self._storage = storage
        self._step = step
        self.delete = storage.delete

    def _fail(self, step: str) -> None:
        if self._step == step:
            raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    @contextmanager
    def draft(self) -> Iterator[BinaryIO]:
        self._fail("draft")
        with self._storage.draft() as file:
            if self._step == "write":
                yield FullFile(file)  # type: ignore[misc]
            else:
                yield file

    def save(self, draft: BinaryIO, key: str, sha256: str) -> None:
        self._fail("save")
        self._storage.save(draft, key, sha256)
        self._fail("sync")


class FullFile:
    def __init__(self, file: BinaryIO) -> None:
        self.name = file.name

    def write(self, data: bytes) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
@pytest.mark.parametrize("step", ["draft", "write", "save"])
def test_a_full_storage_is_told(
    app: Flask, keeper: UploadService, send: Send, ann: Headers, step: str, key: Headers
) -> None:
    service_of(app).add(replace(keeper, storage=cast(Storage, FullStorage(keeper.storage, step))))
    assert_problem(send(headers=ann | key), 507, "STORAGE_FULL")
    service_of(app).add(keeper)
    assert send(headers=ann | key).status_code == 201


def test_bytes_that_were_kept_but_not_surely_are_removed(app: Flask, keeper: UploadService, send: Send) -> None:
    service_of(app).add(replace(keeper, storage=cast(Storage, FullStorage(keeper.storage, "sync"))))
    assert_problem(send(), 507, "STORAGE_FULL")


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
@pytest.mark.parametrize(
    "error, status, code",
    [
        (peewee.OperationalError("locked"), 503, "SERVICE_UNAVAILABLE"),
        (peewee.IntegrityError("twice"), 409, "CONFLICT"),
        (RuntimeError("anything"), 500, "INTERNAL_ERROR"),
    ],
)
def test_what_the_database_refuses_is_not_kept(
    send: Send, ann: Headers, monkeypatch: pytest.MonkeyPatch, key: Headers, error: Exception, status: int, code: str
) -> None:
    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr(feed, "publish", fail)
    assert_problem(send(headers=ann | key), status, code)
    monkeypatch.undo()
    assert not Upload.select().exists()


def test_a_commit_that_fails_leaves_no_byte(send: Send, ann: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    run = idempotency._answer

    def fail(*args: Any) -> Any:
        run(*args)
        raise peewee.OperationalError("disk full")

    monkeypatch.setattr(idempotency, "_answer", fail)
    assert_problem(send(headers=ann | {"Idempotency-Key": "one"}), 503, "SERVICE_UNAVAILABLE")


def test_a_commit_without_an_answer_keeps_what_was_committed(
    send: Send, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    record = UploadService.record

    def commit_and_fail(*args: Any) -> None:
        record(*args)
        raise peewee.OperationalError("connection lost")

    monkeypatch.setattr(UploadService, "record", commit_and_fail)
    assert_problem(send(), 503, "SERVICE_UNAVAILABLE")
    assert len(kept_files(config)) == Upload.select().count() == 1


def test_bytes_that_cannot_be_deleted_are_left_for_the_sweeper(
    keeper: UploadService,
    client: Client,
    send: Send,
    ann: Headers,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_key: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = send().headers["Location"]
    monkeypatch.setattr(keeper.storage, "delete", fail)
    assert client.delete(path, headers=ann).status_code == 204
    assert_problem(client.get(path, headers=ann), 404, "NOT_FOUND")
    monkeypatch.undo()
    for key in kept_files(config):
        keeper.storage.delete(key)


class Endless(RawIOBase):
    """A body that is made while it is read; it breaks off where it is told to."""

    def __init__(self, head: bytes, size: int, tail: bytes, error: Exception | None = None) -> None:
        self._pieces = self._make(head, size, tail, error)
        self._rest = b""

    @staticmethod
    def _make(head: bytes, size: int, tail: bytes, error: Exception | None) -> Iterator[bytes]:
        yield head
        for _ in range(size // 65_536):
            yield b" " * 65_536
        if error:
            raise error
        yield b" " * (size % 65_536) + tail

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._rest or next(self._pieces, b"")
        size = min(len(buffer), len(data))
        buffer[:size], self._rest = data[:size], data[size:]
        return size


HEAD, TAIL = samples.form(samples.pdf(), "a.pdf").split(b"\ntrailer")
TAIL = b"\ntrailer" + TAIL
CONTENT = samples.pdf()


def stream(client: Client, headers: Headers, body: Endless, length: int) -> Any:
    environ = {"wsgi.input": body, "CONTENT_LENGTH": str(length), "CONTENT_TYPE": samples.MULTIPART}
    return client.post("/api/upload", headers=headers, environ_overrides=environ)


def test_memory_stays_flat_for_a_body_at_the_limit(client: Client, ann: Headers) -> None:
    filler = MAX_PDF - len(CONTENT)
    body = Endless(HEAD, filler, TAIL)
    tracemalloc.start()
    answer = stream(client, ann, body, len(HEAD) + filler + len(TAIL))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status_code, answer.json["data"]["size"]) == (201, MAX_PDF)
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
@pytest.mark.parametrize("error", [ConnectionResetError(), None])
def test_a_connection_that_breaks_leaves_nothing(
    client: Client, ann: Headers, key: Headers, error: Exception | None
) -> None:
    body = Endless(HEAD, 1_000_000, b"", error)
    assert_problem(stream(client, ann | key, body, 1_100_000), 400, "BAD_REQUEST")
    assert b"".join(iter(lambda: body.read(1000), b"")) == b""


LONG = b"x" * 200  # a little of a body is held back, in case that a boundary is cut there
TEXT_FOR_FILE, FILE_FOR_TEXT = samples.part('name="file"', LONG), samples.part('name="private"; filename=""', LONG)
EARLY = {
    "too many fields": (samples.part('name="x"', LONG) * 21, 400, "VALIDATION_ERROR"),
    "a second file": (samples.form().removesuffix(samples.END) * 2, 400, "VALIDATION_ERROR"),
    "a text in place of the file": (TEXT_FOR_FILE, 400, "VALIDATION_ERROR"),
    "a file in place of the text": (FILE_FOR_TEXT, 400, "VALIDATION_ERROR"),
    "a text without end": (samples.part('name="private"', b"x" * 10_000), 400, "VALIDATION_ERROR"),
    "SVG": (samples.form(samples.SVG * 10), 415, "UNSUPPORTED_MEDIA_TYPE"),
}


@pytest.mark.parametrize("case", EARLY)
def test_what_is_refused_is_refused_before_the_rest_is_read(client: Client, ann: Headers, case: str) -> None:
    start, status, code = EARLY[case]
    body = Endless(start.removesuffix(samples.END), 0, b"", ConnectionResetError())
    assert_problem(stream(client, ann, body, 1_000_000), status, code)
