"""Validate the structure of a PDF (ISO 32000-2, 7.5): header, `startxref`, cross-reference table with a root."""

import mmap
import re
from typing import BinaryIO

from shared.problems import Problem

MAX_AROUND = 1024  # bytes before the header and after the end, which readers pass over
HEAD = MAX_AROUND + len("%PDF-1.7")
MAX_DICTIONARY = 64 * 1024
MAX_COMMENT = 64 * 1024  # bytes at the end of an archive, behind its own end
_TEXT = rb"[\t\n\f\r\x1b\xbb\xbf\xef -;=-~]"  # lines, a printer's commands, a byte order mark; never a page of HTML
_text = re.compile(_TEXT + rb"*").fullmatch
_header = re.compile(_TEXT + rb"{0,%d}?%%PDF-" % MAX_AROUND).match
_version = re.compile(rb"%PDF-[12]\.[0-9]").search
_ends = re.compile(rb"startxref\s*([0-9]{1,12})(?:\s*%%EOF)?").finditer  # some writers forget the last line
_table = re.compile(rb"\s*xref\s+[0-9]+\s+[0-9]+\s+(?:[0-9]{10} [0-9]{5} [fn]|trailer)").match
_stream = re.compile(rb"\s*[0-9]+\s+[0-9]+\s+obj\s*<<").match
_root = re.compile(rb"/Root\s*[0-9]+\s+[0-9]+\s+R").search
_size = re.compile(rb"/Size\s*[0-9]").search
_is_stream = re.compile(rb"/Type\s*/XRef").search
_end_of_archive = re.compile(rb"PK\x05\x06.{16}(..)", re.DOTALL).finditer


def begins(head: bytes) -> bool | None:
    """Tell by the magic bytes whether a file is a PDF, None where more bytes are needed."""
    if _header(head[:HEAD]):
        return True
    return None if len(head) < HEAD and _text(head) else False


def check(file: BinaryIO) -> None:
    """Raise VALIDATION_ERROR unless a PDF is complete and no other format as well; it is not empty."""
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not _is_whole(data) or _is_archive(data):
            raise Problem("VALIDATION_ERROR", errors={"file": ["Is not a complete PDF."]})


def _is_whole(data: mmap.mmap) -> bool:
    version, ends = _version(data, 0, HEAD), list(_ends(data, max(len(data) - 2 * MAX_AROUND, 0)))
    if not version or not ends:
        return False
    rest, offset = data[ends[-1].end() :], int(ends[-1][1])
    if len(rest) > MAX_AROUND or not _text(rest.translate(None, b"\0\x1a")):  # filled up, or ended as CP/M ended texts
        return False
    # Some writers count from the header, as readers do, others from the beginning of the file.
    return any(_leads_to_objects(data, offset + start) for start in {0, version.start()})


def _leads_to_objects(data: mmap.mmap, position: int) -> bool:
    """Tell whether a cross-reference table (7.5.4) or stream (7.5.8) is there, which names the root."""
    if table := _table(data, position):
        start = data.find(b"trailer", table.start())
        dictionary = _before(data, b"startxref", start) if start >= 0 else b""
    elif stream := _stream(data, position):
        dictionary = _before(data, b"stream", stream.start())
        if not _is_stream(dictionary) or data.find(b"endstream", stream.end()) < 0:
            return False
    else:
        return False
    return bool(_root(dictionary) and _size(dictionary))


def _before(data: mmap.mmap, word: bytes, start: int) -> bytes:
    """Return what stands between a place and a word, nothing where the word is too far away."""
    return data[start : max(data.find(word, start, start + MAX_DICTIONARY), start)]


def _is_archive(data: mmap.mmap) -> bool:
    """Tell whether the file is a ZIP as well: an end-of-central-directory record whose comment reaches the end."""
    ends = _end_of_archive(data, max(len(data) - MAX_COMMENT - 22, 0))
    return any(end.end() + int.from_bytes(end[1], "little") == len(data) for end in ends)
