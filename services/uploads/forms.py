"""Take a multipart body in blocks, its files straight to the disk."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import marshmallow as ma
from flask import request
from werkzeug.http import parse_options_header

from services.uploads.inspection import MAX_PDF
from services.uploads.receiving import Incoming, Received, body
from services.uploads.schemas import UploadFormSchema, UploadsFormSchema
from shared.api import Wire
from shared.problems import Problem

MAX_PENDING = 256 * 1024  # bytes before the first part, of the head of one, and behind the last
MAX_FIELD = 100  # bytes of a part that is no file
MAX_BODY = MAX_PDF + 64 * 1024
MAX_FILES = 10  # of one request
BLANK = b"\r\n\r\n"
MULTIPART = "multipart/form-data"
_one, _many = UploadFormSchema(), UploadsFormSchema()  # to make one takes longer than to load it


def receive(draft: BinaryIO) -> Received:
    """Read the request's one file, its part `file`, into the draft.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, VALIDATION_ERROR, and BAD_REQUEST for a broken body, each as
    soon as it is certain, so that nothing that is refused is stored.
    """
    form = _Form("file", 1, lambda: draft)
    form.read(MAX_BODY)
    given = _one.load(form.texts() | {"file": form.names[0]} if form.names else form.texts())
    return form.files[0].end(given["file"], given["private"])


def receive_many(new_draft: Callable[[], BinaryIO]) -> list[Received]:
    """Read the request's files, its parts `files`, each into a draft of its own; raises as `receive` does."""
    form = _Form("files", MAX_FILES, new_draft)
    form.read(MAX_FILES * MAX_BODY)
    given = _many.load(form.texts() | {"files": form.names} if form.names else form.texts())
    received = []
    for number, (file, name) in enumerate(zip(form.files, given["files"], strict=True)):
        with blamed_on(f"files.{number}"):
            received.append(file.end(name, given["private"]))
    return received


@contextmanager
def blamed_on(field: str) -> Iterator[None]:
    """Let a refusal name the field, where one of many is meant."""
    try:
        yield
    except Problem as problem:
        if problem.status < 500:
            problem.errors = {field: _messages(problem)}
        raise


def _messages(problem: Problem) -> list[str]:
    if problem.errors:
        return [message for messages in problem.errors.values() for message in messages]
    return [problem.detail or "Is refused."]


@dataclass(frozen=True, slots=True)
class Part:
    """What the head of a part says; only a file has a filename."""

    name: str
    filename: str | None

    @classmethod
    def of(cls, head: bytes) -> "Part":
        """Return what stands between a boundary and the data; raise ValueError."""
        padding, *lines = head.decode().split("\r\n")
        headers = {name.strip().lower(): value for name, _, value in (line.partition(":") for line in lines)}
        if padding.strip(" \t") or "content-disposition" not in headers:
            raise ValueError("no head of a part")
        about = parse_options_header(headers["content-disposition"])[1]
        return cls(about.get("name", ""), about.get("filename"))


def _pieces(max_body: int) -> Iterator[Part | bytes]:
    try:
        yield from split(body(max_body), _boundary())
    except ValueError as error:
        raise Problem("BAD_REQUEST", "The body is not complete or not valid multipart/form-data.") from error


def split(blocks: Iterable[bytes], boundary: bytes) -> Iterator[Part | bytes]:
    """Yield each part, and then its data as they come (RFC 2046, section 5.1); raise ValueError."""
    mark = b"\r\n--" + boundary
    rest, wanted, begun = b"\r\n", mark, False
    for block in blocks:
        rest += block
        while not (wanted is BLANK and rest.startswith(b"--")) and (found := rest.find(wanted)) >= 0:
            before, rest = rest[:found], rest[found + len(wanted) :]
            if wanted is BLANK:
                yield Part.of(before)
                begun, wanted = True, mark
            else:
                if begun:
                    yield before
                wanted = BLANK
        if begun and wanted is mark:
            yield rest[: -len(mark)]
            rest = rest[-len(mark) :]
        elif len(rest) > MAX_PENDING:
            raise ValueError("too much that is no data")
    if not (wanted is BLANK and rest.startswith(b"--")):
        raise ValueError("no end")


def _boundary() -> bytes:
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != MULTIPART or not boundary:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", "Send the file as multipart/form-data.", allowedTypes=[MULTIPART])
    return boundary.encode("latin-1")


class _Form:
    """The parts, as far as they have come in: files named `field`, and texts."""

    def __init__(self, field: str, max_files: int, new_draft: Callable[[], BinaryIO]) -> None:
        self.names: list[str] = []
        self.files: list[Incoming] = []
        self._field = field
        self._max_files = max_files
        self._new_draft = new_draft
        self._texts: dict[str, bytes] = {}
        self._current = ""

    def read(self, max_body: int) -> None:
        """Take the whole body, of so many bytes at most."""
        for piece in _pieces(max_body):
            if isinstance(piece, Part):
                self._begin(piece)
            else:
                self._continue(piece)

    def _begin(self, part: Part) -> None:
        self._current = name = part.name
        if name not in (self._field, "private"):
            raise _invalid(name, "Unknown field.")
        if (part.filename is None) == (name == self._field):
            raise _invalid(name, "Must be a file." if name == self._field else "Must not be a file.")
        if name in self._texts or (self._max_files == len(self.files) == 1 and name == self._field):
            raise _invalid(name, "Must be given once.")
        if part.filename is None:
            self._texts[name] = b""
        else:
            self._begin_file(part.filename)

    def _begin_file(self, filename: str) -> None:
        if len(self.files) == self._max_files:
            raise _invalid(self._field, f"Must be at most {self._max_files} files.")
        self.names.append(filename)
        self.files.append(Incoming(self._new_draft(), self._field))

    def _continue(self, data: bytes) -> None:
        if self._current != self._field:
            self._add_text(data)
        elif self._max_files == 1:
            self.files[-1].write(data)
        else:
            with blamed_on(f"{self._field}.{len(self.files) - 1}"):
                self.files[-1].write(data)

    def _add_text(self, data: bytes) -> None:
        text = self._texts[self._current] + data
        if len(text) > MAX_FIELD:
            raise _invalid(self._current, "Is too long.")
        self._texts[self._current] = text

    def texts(self) -> dict[str, Any]:
        return {name: Wire(text.decode(errors="replace")) for name, text in self._texts.items()}


def _invalid(field: str, message: str) -> ma.ValidationError:
    return ma.ValidationError({field: [message]})
