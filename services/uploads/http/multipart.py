"""Parse a multipart body in blocks (RFC 7578) and stream its files to the disk."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO

import marshmallow as ma
from flask import request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from services.uploads.file_types.registry import MAX_PDF
from services.uploads.http.incoming_file import Incoming, Received, body
from services.uploads.schemas import MAX_FILES, UploadFormSchema, UploadsFormSchema
from shared.identity.csrf import MULTIPART
from shared.problems import Problem
from shared.web import html_forms

MAX_PENDING = 256 * 1024  # bytes before the first part, of the head of one, and behind the last
MAX_TEXT = 8 * 1024  # bytes of a part that is no file
MAX_TEXTS = 20  # of such parts that are passed over: notes of a client, whatever they are called
MAX_AROUND = 64 * 1024  # bytes around a file: boundaries and heads
PRIVATE = "private"
MAX_PADDING = 64  # bytes of a line behind its boundary that are looked at
_quoted_name = re.compile(r'[; \t]filename="((?:[^"\\]|\\["\\]|\\(?!["\\]))*)"', re.IGNORECASE).search
_escaped = re.compile(r'\\(["\\])')
_windows_folders = re.compile(r"(?:[A-Za-z]:)?\\(?:.*\\)?").match
_one, _many = UploadFormSchema(), UploadsFormSchema()  # to make one takes longer than to load it


def receive(draft: BinaryIO) -> Received:
    """Read the request's one file, its part `file`, into the draft.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, VALIDATION_ERROR, and BAD_REQUEST for a broken body, each as
    soon as it is certain, so that nothing that is refused is stored.
    """
    form = _Form("file", 1, lambda: draft)
    form.read(max_body(1))
    html_forms.note_parts(form.notes())
    given = _one.load(form.texts() | {"file": form.names[0]} if form.names else form.texts())
    return form.files[0].end(given["file"], given["private"])


def receive_many(new_draft: Callable[[], BinaryIO]) -> list[Received]:
    """Read the request's files, its parts `files`, each into a draft of its own; raises as `receive` does."""
    form = _Form("files", MAX_FILES, new_draft)
    form.read(max_body(MAX_FILES))
    given = _many.load(form.texts() | {"files": form.names} if form.names else form.texts())
    received = []
    for number, (file, name) in enumerate(zip(form.files, given["files"], strict=True)):
        with blamed_on(f"files.{number}"):
            received.append(file.end(name, given["private"]))
    return received


def max_body(files: int) -> int:
    """Return how many bytes a form with so many files may have."""
    return files * (MAX_PDF + MAX_AROUND) + MAX_TEXTS * MAX_TEXT


@contextmanager
def blamed_on(field: str) -> Iterator[None]:
    """Put the field into the errors of a problem, where one of several files is meant."""
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


class Decoder(MultipartDecoder):
    """Read the head of a part as Windows-1252 where it is no UTF-8: so old programs write names of files."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("cp1252", "replace").encode()
        return super()._parse_headers(data)


def events(blocks: Iterable[bytes], boundary: bytes) -> Iterator[Event]:
    """Yield the events of Werkzeug's decoder, the last of them Epilogue (RFC 2046, section 5.1); raise ValueError."""
    decoder = Decoder(boundary, MAX_PENDING)
    for block in chain(without_cut_delimiters(blocks, boundary), [None]):
        try:
            decoder.receive_data(block)
        except RequestEntityTooLarge as error:
            raise ValueError("too much that is no data") from error
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
            if isinstance(event, Epilogue):
                return


def without_cut_delimiters(blocks: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """Cut the blocks elsewhere than right behind a boundary.

    Werkzeug 3.1 takes the CR of `CR LF --boundary` for data when its buffer ends one byte behind the boundary.
    """
    delimiter, rest = b"--" + boundary, b""
    held = len(delimiter) + MAX_PADDING
    for block in blocks:
        rest += block
        cut = len(rest) - held
        if cut > 0 and (found := rest.rfind(delimiter, max(cut - held, 0), cut)) >= 0:
            cut = found
        if cut > 0:
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def _events(max_size: int) -> Iterator[Event]:
    try:
        yield from events(body(max_size), _boundary())
    except ValueError as error:
        raise Problem("BAD_REQUEST", "The body is not complete or not valid multipart/form-data.") from error


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
        self._passed_over = 0
        self._current = ""

    def read(self, max_size: int) -> None:
        """Take the whole body, of so many bytes at most."""
        for event in _events(max_size):
            if isinstance(event, File):
                self._begin_file(event.name or "", filename_of(event))
            elif isinstance(event, Field):
                self._begin_text(event.name or "")
            elif isinstance(event, Data):
                self._continue(event.data)

    def _begin_file(self, name: str, filename: str) -> None:
        self._current = name
        if name != self._field:
            raise _invalid(name, "Must not be a file." if name == PRIVATE else "Unknown file.")
        if self._max_files == len(self.files) == 1:
            raise _invalid(name, "Must be given once.")
        if len(self.files) == self._max_files:
            raise _invalid(name, f"Must be at most {self._max_files} files.")
        self.names.append(filename)
        self.files.append(Incoming(self._new_draft(), name))

    def _begin_text(self, name: str) -> None:
        self._current = name
        if name == self._field:
            raise _invalid(name, "Must be a file.")
        if name == PRIVATE and name in self._texts:
            raise _invalid(name, "Must be given once.")
        if name != PRIVATE:
            self._passed_over += 1
            if self._passed_over > MAX_TEXTS:
                raise _invalid(name, f"Must be at most {MAX_TEXTS} other fields.")
        self._texts[name] = b""

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
        if len(text) > MAX_TEXT:
            raise _invalid(self._current, "Is too long.")
        self._texts[self._current] = text

    def notes(self) -> dict[str, str]:
        """Return the texts that say nothing about the files."""
        return {name: text.decode(errors="replace") for name, text in self._texts.items() if name != PRIVATE}

    def texts(self) -> dict[str, Any]:
        """Return the texts that say something about the files."""
        return {name: text.decode(errors="replace") for name, text in self._texts.items() if name == PRIVATE}


def filename_of(part: File) -> str:
    """Return the name of a file as it was sent, of a path on Windows its last component.

    Programs that send such a path do not escape its backslashes, and Werkzeug drops those.
    """
    disposition = part.headers["content-disposition"]
    quoted = None if "filename*" in disposition else _quoted_name(disposition)
    name = _escaped.sub(r"\1", quoted[1]).replace("%22", '"') if quoted else part.filename
    folders = _windows_folders(name)
    return name[folders.end() :] if folders else name


def _invalid(field: str, message: str) -> ma.ValidationError:
    return ma.ValidationError({field: [message]})
