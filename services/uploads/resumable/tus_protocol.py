"""The headers of tus 1.0 (https://tus.io/protocols/resumable-upload), read strictly."""

import base64
import hashlib
import re
from typing import Any

from werkzeug.datastructures import Headers

from services.uploads.file_types.registry import MAX_PDF
from services.uploads.schemas import ResumableSchema
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
MAX_NOTES = 20  # keys of Upload-Metadata that are the client's own
MAX_NOTES_SIZE = 4 * 1024  # bytes of those keys and their values in Base64
_OF_THE_FILE = ("filename", "name", "filetype", "type", "private")
_is_key = re.compile(r"[!-+\--~]+").fullmatch
_is_base64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
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
    """Return what Upload-Metadata says: `filename`, or `name` in its place, and `private`.

    Types are told by the bytes, and other keys are notes of the client. Raises BAD_REQUEST or VALIDATION_ERROR.
    """
    pairs = _pairs(header)
    notes = {key: value for key, value in pairs.items() if key not in _OF_THE_FILE}
    if len(notes) > MAX_NOTES or sum(len(key) + len(value) for key, value in notes.items()) > MAX_NOTES_SIZE:
        detail = f"Upload-Metadata may have {MAX_NOTES} keys of the client's own, and {MAX_NOTES_SIZE} bytes of them."
        raise Problem("BAD_REQUEST", detail)
    given = {key: _text(value) for key, value in pairs.items() if key in ("filename", "name", "private")}
    name = given.pop("name", "")
    given["filename"] = given.get("filename") or name
    loaded: dict[str, Any] = ResumableSchema().load(given)
    return loaded


def _pairs(header: str) -> dict[str, str]:
    """Return the keys with their values in Base64, nothing for a key without one."""
    pairs: dict[str, str] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        if not _is_key(key) or (value and not _is_base64(value)):
            raise Problem("BAD_REQUEST", "Upload-Metadata must have ASCII keys, each with a value in Base64 or none.")
        if key in pairs:
            raise Problem("BAD_REQUEST", "Upload-Metadata names a key twice.")
        pairs[key] = value
    return pairs


def _text(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError as error:
        raise Problem("BAD_REQUEST", "Names in Upload-Metadata must be UTF-8 in Base64.") from error


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
