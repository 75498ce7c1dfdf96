"""Stream a request body to the disk in blocks: memory is constant whatever the size."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from flask import request

from services.uploads.file_types.registry import MAX_PDF, FileType, kind_of, unknown
from services.uploads.http import digests
from shared.problems import Problem

BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One file that came in; size in bytes, the file itself is in the draft."""

    kind: FileType
    size: int
    sha256: str
    filename: str
    private: bool
    draft: BinaryIO

    @property
    def fingerprint(self) -> bytes:
        """Return the fingerprint for Idempotency-Key, the same for any multipart boundary."""
        return f"{self.sha256}\n{self.private}\n{self.filename}".encode()


def body(max_size: int) -> Iterator[bytes]:
    """Yield the request's body; raise PAYLOAD_TOO_LARGE, and BAD_REQUEST unless it is what its digest announces."""
    expected = digests.announced(request.headers)
    digest = hashlib.sha256()
    for block in blocks(max_size):
        if expected:
            digest.update(block)
        yield block
    if expected and digest.digest() != expected:
        raise Problem("BAD_REQUEST", f"The body is not the one that {digests.HEADER} announces.")


def blocks(max_size: int) -> Iterator[bytes]:
    """Yield the request's body; raise PAYLOAD_TOO_LARGE, before anything is read where that is announced."""
    seen, too_large = 0, Problem("PAYLOAD_TOO_LARGE", maxSize=min(max_size, MAX_PDF))
    if (request.content_length or 0) > max_size:
        raise too_large
    request.max_content_length = max_size + 1  # Werkzeug refuses to look whether anything follows the last byte
    while block := request.stream.read(BLOCK):
        seen += len(block)
        if seen > max_size:
            raise too_large
        yield block


def receive_raw(draft: BinaryIO, filename: str, private: bool) -> Received:
    """Read the request's body, which is the file itself, into the draft.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, VALIDATION_ERROR and BAD_REQUEST, each as early as possible.
    """
    if "Content-Range" in request.headers:  # a part would become the whole (RFC 9110, section 14.5)
        raise Problem("BAD_REQUEST", "Send the whole file, without Content-Range.")
    file = Incoming(draft, "body")
    for block in body(MAX_PDF):
        file.write(block)
    return file.end(filename, private)


class Incoming:
    """A file being received: its size, hash and type are computed while it is written to the disk."""

    def __init__(self, draft: BinaryIO, field: str) -> None:
        self._draft = draft
        self._field = field
        self._head = b""
        self._size = 0
        self._digest = hashlib.sha256()
        self._kind: FileType | None = None

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._kind is None:
            data = self._head = self._head + data
            self._kind = kind_of(data)
        if self._kind:
            self._store(data, self._kind)

    def _store(self, data: bytes, kind: FileType) -> None:
        if self._size > kind.max_size:
            raise Problem(
                "PAYLOAD_TOO_LARGE",
                f"A file of this type must have at most {kind.max_size} bytes.",
                maxSize=kind.max_size,
            )
        self._digest.update(data)
        self._draft.write(data)

    def end(self, filename: str, private: bool) -> Received:
        """Return what is known of the whole; raise VALIDATION_ERROR for nothing."""
        if not self._size:
            raise Problem("VALIDATION_ERROR", errors={self._field: ["Must not be empty."]})
        if self._kind is None:
            raise unknown()
        return Received(self._kind, self._size, self._digest.hexdigest(), filename, private, self._draft)
