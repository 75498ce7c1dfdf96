"""The headers of tus 1.0 (https://tus.io/protocols/resumable-upload), read strictly."""

import base64
import hashlib
import re
from typing import Any

from werkzeug.datastructures import Headers

from services.uploads.inspection import MAX_PDF
from services.uploads.schemas import ResumableSchema
from shared.api import Wire
from shared.problems import Problem

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
ALGORITHMS = ("sha1", "sha256")
DISCOVERY = {
    "Tus-Version": VERSION,
    "Tus-Extension": "creation,creation-with-upload,expiration,checksum,termination",
    "Tus-Max-Size": str(MAX_PDF),
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
}
_is_number = re.compile(r"[0-9]{1,18}").fullmatch


def check_version(headers: Headers) -> None:
    """Raise PRECONDITION_FAILED unless the client speaks our version."""
    if headers.get("Tus-Resumable") != VERSION:
        raise Problem("PRECONDITION_FAILED", f"Send Tus-Resumable: {VERSION}.", headers={"Tus-Version": VERSION})


def check_type(mime_type: str) -> None:
    """Raise UNSUPPORTED_MEDIA_TYPE for a body that is no part of a file."""
    if mime_type != CONTENT_TYPE:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", f"Send the bytes as {CONTENT_TYPE}.", allowedTypes=[CONTENT_TYPE])


def number(headers: Headers, name: str) -> int:
    """Return a header's number of bytes; raise BAD_REQUEST."""
    value = headers.get(name, "")
    if not _is_number(value):
        raise Problem("BAD_REQUEST", f"{name} must be a number of bytes.")
    return int(value)


def length(headers: Headers) -> int:
    """Return how long the whole file is to be; raise BAD_REQUEST, and PAYLOAD_TOO_LARGE where none may be so long."""
    for name in ("Upload-Defer-Length", "Upload-Concat"):
        if name in headers:
            raise Problem("BAD_REQUEST", f"{name} belongs to an extension that is not offered.")
    size = number(headers, "Upload-Length")
    if not size:
        raise Problem("BAD_REQUEST", "A file must not be empty.")
    if size > MAX_PDF:
        raise Problem("PAYLOAD_TOO_LARGE", f"A file may have at most {MAX_PDF} bytes.", maxSize=MAX_PDF)
    return size


def metadata(header: str) -> dict[str, Any]:
    """Return what Upload-Metadata says: `filename` and `private`; raise BAD_REQUEST or VALIDATION_ERROR."""
    pairs: dict[str, Wire] = {}
    for pair in header.split(","):
        key, _, value = pair.strip(" ").partition(" ")
        if key in pairs:
            raise Problem("BAD_REQUEST", "Upload-Metadata names a key twice.")
        pairs[key] = Wire(_decoded(value))
    loaded: dict[str, Any] = ResumableSchema().load(pairs if header else {})
    return loaded


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError as error:
        raise Problem("BAD_REQUEST", "The values of Upload-Metadata must be UTF-8 in Base64.") from error


class Checksum:
    """What Upload-Checksum announces of a body."""

    def __init__(self, header: str) -> None:
        """Raise BAD_REQUEST for what cannot be read, or an algorithm that is not offered."""
        algorithm, _, value = header.partition(" ")
        if algorithm not in ALGORITHMS:
            raise Problem("BAD_REQUEST", f"Upload-Checksum must be one of {', '.join(ALGORITHMS)}.")
        self.digest = hashlib.new(algorithm, usedforsecurity=False)
        try:
            self._expected = base64.b64decode(value, validate=True)
        except ValueError:
            self._expected = b""
        if len(self._expected) != self.digest.digest_size:
            raise Problem("BAD_REQUEST", f"Upload-Checksum must have the {algorithm} in Base64.")

    def check(self) -> None:
        """Raise CHECKSUM_MISMATCH unless the bytes that went into `digest` are those."""
        if self.digest.digest() != self._expected:
            raise Problem("CHECKSUM_MISMATCH")
