"""Take a multipart body in blocks, its file straight to the disk: memory stays flat whatever is sent."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import marshmallow as ma
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from services.uploads.inspection import HEAD, MAX_PDF, Kind, kind_of
from services.uploads.schemas import UploadFormSchema
from shared.api import Wire
from shared.problems import Problem

BLOCK = 64 * 1024
MAX_PENDING = 4 * BLOCK  # bytes that may wait for a boundary or the end of a part's headers
MAX_FIELD = 100  # bytes of a part that is no file
MAX_BODY = MAX_PDF + 64 * 1024
MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Received:
    """What came in; size in bytes, the file itself is in the draft."""

    kind: Kind
    size: int
    sha256: str
    filename: str
    private: bool

    @property
    def fingerprint(self) -> bytes:
        """Return what is the same when the same is sent again, in whatever wrapping."""
        return f"{self.sha256}\n{self.private}\n{self.filename}".encode()


def receive(draft: BinaryIO) -> Received:
    """Read the request's one file into the draft.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, VALIDATION_ERROR, and BAD_REQUEST for a broken body, each as
    soon as it is certain, so that nothing that is refused is stored.
    """
    request.max_content_length = MAX_BODY
    form = _Form(draft)
    for event in _events():
        form.take(event)
    return form.result()


def _events() -> Iterator[Event]:
    try:
        decoder = MultipartDecoder(_boundary())
        stream = request.stream
        while True:
            decoder.receive_data(stream.read(BLOCK) or None)
            event = decoder.next_event()
            while not isinstance(event, NeedData | Epilogue):
                yield event
                event = decoder.next_event()
            if isinstance(event, Epilogue):
                return
            if len(decoder.buffer) > MAX_PENDING:
                raise Problem("BAD_REQUEST", "The parts of the body cannot be told apart.")
    except RequestEntityTooLarge as error:
        raise Problem("PAYLOAD_TOO_LARGE", maxSize=MAX_PDF) from error
    except ValueError as error:
        raise Problem("BAD_REQUEST", "The body is not complete or not valid multipart/form-data.") from error


def _boundary() -> bytes:
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != MULTIPART or not boundary:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", "Send the file as multipart/form-data.", allowedTypes=[MULTIPART])
    return boundary.encode("latin-1")


class _Form:
    """The parts, as far as they have come in."""

    def __init__(self, draft: BinaryIO) -> None:
        self._file = _FilePart(draft)
        self._texts: dict[str, bytes] = {}
        self._current = ""

    def take(self, event: Event) -> None:
        if isinstance(event, Field | File):
            self._begin(event)
        elif isinstance(event, Data):
            if self._current == "file":
                self._file.write(event.data)
            else:
                self._add_text(event.data)

    def _begin(self, part: Field | File) -> None:
        name = part.name or ""
        if name not in ("file", "private"):
            raise _invalid(name, "Unknown field.")
        if name in self._texts:
            raise _invalid(name, "Must be given once.")
        if isinstance(part, File) != (name == "file"):
            raise _invalid(name, "Must be a file." if name == "file" else "Must not be a file.")
        self._texts[name] = part.filename.encode() if isinstance(part, File) else b""
        self._current = name

    def _add_text(self, data: bytes) -> None:
        if not data:
            return
        text = self._texts[self._current] + data
        if len(text) > MAX_FIELD:
            raise _invalid(self._current, "Is too long.")
        self._texts[self._current] = text

    def result(self) -> Received:
        form = UploadFormSchema().load(
            {name: Wire(text.decode(errors="replace")) for name, text in self._texts.items()}
        )
        kind, size, digest = self._file.end()
        return Received(kind, size, digest, form["file"], form["private"])


class _FilePart:
    """The one file: measured, hashed and recognised while it goes to the disk."""

    def __init__(self, draft: BinaryIO) -> None:
        self._draft = draft
        self._head = b""
        self._size = 0
        self._digest = hashlib.sha256()
        self._kind: Kind | None = None

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._kind is None:
            self._head += data
            if len(self._head) < HEAD:
                return
            data, self._kind = self._head, kind_of(self._head)
        self._store(data, self._kind)

    def _store(self, data: bytes, kind: Kind) -> None:
        if self._size > kind.max_size:
            raise Problem(
                "PAYLOAD_TOO_LARGE",
                f"A file of this type must have at most {kind.max_size} bytes.",
                maxSize=kind.max_size,
            )
        self._digest.update(data)
        self._draft.write(data)

    def end(self) -> tuple[Kind, int, str]:
        """Return kind, size and SHA-256 of the whole; raise VALIDATION_ERROR for nothing."""
        if not self._size:
            raise _invalid("file", "Must not be empty.")
        if self._kind is None:
            self._kind = kind_of(self._head)
            self._store(self._head, self._kind)
        return self._kind, self._size, self._digest.hexdigest()


def _invalid(field: str, message: str) -> ma.ValidationError:
    return ma.ValidationError({field: [message]})
