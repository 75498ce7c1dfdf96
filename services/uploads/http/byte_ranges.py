"""Parse the header Range, and build the multipart/byteranges body of several ranges (RFC 9110, section 14)."""

import re
from collections.abc import Callable, Iterator, Sequence

from services.uploads.storage.base import Blocks
from shared.ids import new_id

Part = tuple[int, int]  # from where to before where

MAX_PARTS = 16
_units = re.compile(r"bytes=(.{1,1000})", re.IGNORECASE).fullmatch
_spec = re.compile(r"([0-9]{0,18})-([0-9]{0,18})").fullmatch


class Unsatisfiable(ValueError):
    """All ranges lie outside the file."""


def wanted_parts(header: str, size: int) -> list[Part]:
    """Return the parts of `size` bytes that are asked for, none where all is to be sent; raise Unsatisfiable.

    Other units and bad syntax are ignored, as the RFC allows, and so are more ranges than `MAX_PARTS` and those that
    are more than the file together, which cost more than they save (section 17.15).
    """
    match = _units(header.strip())
    specs = [spec for text in match[1].split(",") if (spec := text.strip(" \t"))] if match else []
    if not 0 < len(specs) <= MAX_PARTS:
        return []
    try:
        parts = [part for spec in specs if (part := _part(spec, size))]
    except ValueError:
        return []
    if not parts:
        raise Unsatisfiable
    return parts if len(parts) == 1 or sum(stop - start for start, stop in parts) <= size else []


def _part(spec: str, size: int) -> Part | None:
    """Return the part, None when it lies outside the file; raise ValueError for what is none."""
    match = _spec(spec)
    if match is None or spec == "-":
        raise ValueError(spec)
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    elif last and int(last) < int(first):
        raise ValueError(spec)
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    return (start, stop) if start < size else None


class ByteRanges:
    """A body of media type multipart/byteranges (section 14.6); `length` in bytes."""

    def __init__(
        self, parts: Sequence[Part], size: int, mime_type: str, open_part: Callable[[int, int], Blocks]
    ) -> None:
        self._boundary = new_id()
        self.mime_type = f"multipart/byteranges; boundary={self._boundary}"
        self._heads = [self._head(part, size, mime_type) for part in parts]
        self._end = f"\r\n--{self._boundary}--\r\n".encode()
        self.length = sum(map(len, self._heads)) + sum(stop - start for start, stop in parts) + len(self._end)
        self._parts: list[Blocks] = []
        try:
            for start, stop in parts:  # all now, so that they are of one version
                self._parts.append(open_part(start, stop))
        except OSError:
            self.close()
            raise

    def _head(self, part: Part, size: int, mime_type: str) -> bytes:
        lines = (f"Content-Type: {mime_type}", f"Content-Range: {content_range(part, size)}")
        return "\r\n".join(("", f"--{self._boundary}", *lines, "", "")).encode()

    def __iter__(self) -> Iterator[bytes]:
        for head, blocks in zip(self._heads, self._parts, strict=True):
            yield head
            yield from blocks
        yield self._end

    def close(self) -> None:
        for blocks in self._parts:
            blocks.close()


def content_range(part: Part, size: int) -> str:
    start, stop = part
    return f"bytes {start}-{stop - 1}/{size}"
