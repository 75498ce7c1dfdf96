"""The segments of a JPEG."""

import re
import struct

from services.uploads.imaging.formats.reader import Container, Malformed, Walk

MAX_SCANS = 100  # of a progressive JPEG: each costs a pass over all pixels
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KEPT = {0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_JFIF = 0xE0
_APPLICATION = range(0xE0, 0xF0)
_COMMENT, _START, _SCAN, _END = 0xFE, 0xD8, 0xDA, 0xD9
_EOI = b"\xff\xd9"
_find_marker = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search


def walk_jpeg(data: bytes) -> Container:
    """Read the segments (ITU T.81, annex B); what cameras put after the end is dropped."""
    walk = Walk(data)
    walk.keep(walk.take(2))
    width = height = scans = 0
    exif = b""
    while not walk.at_end and (marker := _jpeg_marker(walk)) != _END:
        start = walk.position - 2
        content = walk.take(struct.unpack(">H", walk.take(2))[0] - 2)
        if marker in _JPEG_SIZES:
            if width:
                raise Malformed("two sizes")
            height, width = struct.unpack_from(">HH", content, 1)
        if marker == _SCAN:
            scans += 1
            _pass_scan(walk)
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content[6:]
        _keep(walk, start, marker, content)
    if not 0 < scans <= MAX_SCANS:
        raise Malformed("no scan, or too many")
    ended = walk.data[walk.position - 2 : walk.position] == _EOI
    if ended:
        walk.keep(_EOI)
    return Container(width, height, 1, walk.clean(), exif, scans, b"" if ended else _EOI)


def _jpeg_marker(walk: Walk) -> int:
    """Return the next marker; like viewers, pass over what is none, as the zeros that some cameras fill up with."""
    code = 0
    while code == 0:
        walk.skip_to(b"\xff")
        code = 0xFF
        while code == 0xFF:
            (code,) = walk.take(1)
    if code in (_START, 1) or 0xD0 <= code <= 0xD7:
        raise Malformed("a marker is out of place")
    return code


def _pass_scan(walk: Walk) -> None:
    marker = _find_marker(walk.data, walk.position)
    walk.take((marker.start() if marker else len(walk.data)) - walk.position)


def _keep(walk: Walk, start: int, marker: int, content: bytes) -> None:
    """Keep what is of the picture; a JFIF header loses its thumbnail (ITU T.871, 10.1), which may show more."""
    if marker == _JFIF and content.startswith(b"JFIF\0"):
        walk.keep(b"\xff\xe0\x00\x10" + content[:12].ljust(12, b"\0") + b"\0\0")
    elif marker in _APPLICATION:
        if marker in _JPEG_KEPT and content.startswith(_JPEG_KEPT[marker]):
            walk.keep_from(start)
    elif marker != _COMMENT:
        walk.keep_from(start)
