"""Detect the media type of a file by its magic bytes; its name and declared type are ignored."""

from dataclasses import dataclass

from services.uploads.file_types import pdf
from shared.problems import Problem

MIB = 1024 * 1024
MAX_IMAGE = 5 * MIB
MAX_PDF = 10 * MIB
ENOUGH = 12  # bytes that tell every image


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file that is taken; `max_size` in bytes."""

    mime_type: str
    extensions: tuple[str, ...]
    max_size: int

    @property
    def extension(self) -> str:
        return self.extensions[0]


JPEG = FileType("image/jpeg", ("jpg", "jpeg", "jpe", "jfif"), MAX_IMAGE)
PNG = FileType("image/png", ("png", "apng"), MAX_IMAGE)
WEBP = FileType("image/webp", ("webp",), MAX_IMAGE)
GIF = FileType("image/gif", ("gif",), MAX_IMAGE)
PDF = FileType("application/pdf", ("pdf",), MAX_PDF)
KINDS = {kind.mime_type: kind for kind in (JPEG, PNG, WEBP, GIF, PDF)}


def kind_of(head: bytes) -> FileType | None:
    """Return the type for the magic bytes, None where more bytes are needed; raise UNSUPPORTED_MEDIA_TYPE."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    is_pdf = pdf.begins(head)
    if is_pdf is False and len(head) >= ENOUGH:
        raise unknown()
    return PDF if is_pdf else None


def unknown() -> Problem:
    return Problem("UNSUPPORTED_MEDIA_TYPE", "The file is none of the allowed types.", allowedTypes=list(KINDS))
