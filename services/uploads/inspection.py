"""Tell by the bytes what a file is; names and what clients say about it mean nothing."""

import os
from dataclasses import dataclass
from typing import BinaryIO

from shared.problems import Problem

MIB = 1024 * 1024
MAX_IMAGE = 5 * MIB
MAX_PDF = 10 * MIB
HEAD = 12  # bytes that are enough to tell
PDF_TAIL = 1024  # bytes at the end in which readers look for the mark


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that is taken; `max_size` in bytes."""

    mime_type: str
    extensions: tuple[str, ...]
    max_size: int

    @property
    def extension(self) -> str:
        return self.extensions[0]


JPEG = Kind("image/jpeg", ("jpg", "jpeg", "jpe", "jfif"), MAX_IMAGE)
PNG = Kind("image/png", ("png", "apng"), MAX_IMAGE)
WEBP = Kind("image/webp", ("webp",), MAX_IMAGE)
GIF = Kind("image/gif", ("gif",), MAX_IMAGE)
PDF = Kind("application/pdf", ("pdf",), MAX_PDF)
KINDS = {kind.mime_type: kind for kind in (JPEG, PNG, WEBP, GIF, PDF)}


def kind_of(head: bytes) -> Kind:
    """Return the kind of a file that begins so, given `HEAD` bytes or all; raise UNSUPPORTED_MEDIA_TYPE."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"%PDF-"):
        return PDF
    raise Problem("UNSUPPORTED_MEDIA_TYPE", "The file is none of the allowed types.", allowedTypes=list(KINDS))


def check_pdf(file: BinaryIO) -> None:
    """Raise VALIDATION_ERROR unless the file ends as a PDF does (ISO 32000-1, 7.5.5)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - PDF_TAIL))
    if not file.read().rstrip(b"\r\n\t \0").endswith(b"%%EOF"):
        raise Problem("VALIDATION_ERROR", errors={"file": ["Is not a complete PDF."]})
