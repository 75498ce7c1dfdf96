"""Walk the containers of images: how large the image is, where it ends, and what of it is no picture.

Nothing is decoded here, so that a bomb is found before it goes off; what is not the picture (EXIF, GPS, XMP,
texts, thumbnails, unknown parts) is left out of the copy, the picture's own bytes stay as they are.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

MAX_STEPS = 100_000  # pieces that are looked at; more is an attack on our time
MAX_SCANS = 100  # of a progressive JPEG: each costs a pass over all pixels
UPRIGHT = 1

Exif = bytes


class Malformed(ValueError):
    """The bytes are no complete image of their kind."""


@dataclass(frozen=True, slots=True)
class Container:
    """An image before it is decoded; `clean` is the file without metadata, `exif` the TIFF block it had."""

    width: int
    height: int
    frames: int
    clean: bytes
    exif: Exif = b""


class Walk:
    """A position in a file that cannot leave it, and the pieces to keep."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self._steps = 0
        self._kept: list[memoryview | bytes] = []

    def take(self, size: int) -> bytes:
        """Return the next bytes; raise Malformed where the file ends before."""
        self._steps += 1
        end = self.position + size
        if end > len(self.data) or self._steps > MAX_STEPS:
            raise Malformed("cut off or in too many pieces")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def keep_from(self, start: int) -> None:
        """Keep what was passed since a position."""
        self._kept.append(memoryview(self.data)[start : self.position])

    def keep(self, piece: bytes) -> None:
        self._kept.append(piece)

    def clean(self) -> bytes:
        return b"".join(self._kept)

    def end(self) -> None:
        """Refuse anything but padding after the image: a second file hides there."""
        if self.data[self.position :].strip(b"\0"):
            raise Malformed("something follows the image")


PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
)


def walk_png(data: bytes) -> Container:
    """Read the chunks (PNG 3rd edition, section 5), each against its checksum."""
    walk = Walk(data)
    walk.keep(walk.take(8))
    width = height = animated = 0
    exif = name = b""
    while name != b"IEND":
        start = walk.position
        length, name = struct.unpack(">I4s", walk.take(8))
        content = walk.take(length)
        if struct.pack(">I", zlib.crc32(content, zlib.crc32(name))) != walk.take(4):
            raise Malformed("a chunk does not match its checksum")
        if (name == b"IHDR") != (start == 8):
            raise Malformed("the header is not the first chunk, or there are two")
        if name == b"IHDR":
            width, height = struct.unpack_from(">II", content)
        animated += name == b"fcTL"
        exif = content if name == b"eXIf" else exif
        if name in PNG_KEPT:
            walk.keep_from(start)
    walk.end()
    return Container(width, height, max(animated, 1), walk.clean(), exif)


_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KEPT = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_APPLICATION = range(0xE0, 0xF0)
_COMMENT, _START, _SCAN, _END = 0xFE, 0xD8, 0xDA, 0xD9
_find_marker = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search


def walk_jpeg(data: bytes) -> Container:
    """Read the segments (ITU T.81, annex B); what cameras put after the end is dropped."""
    walk = Walk(data)
    walk.keep(walk.take(2))
    width = height = scans = 0
    exif = b""
    while (marker := _jpeg_marker(walk)) != _END:
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
        if _stays_in_jpeg(marker, content):
            walk.keep_from(start)
    if not 0 < scans <= MAX_SCANS:
        raise Malformed("no scan, or too many")
    walk.keep(b"\xff\xd9")
    return Container(width, height, 1, walk.clean(), exif)


def _jpeg_marker(walk: Walk) -> int:
    first, code = walk.take(2)
    while code == 0xFF:
        (code,) = walk.take(1)
    if first != 0xFF or code == 0 or code == _START or 0xD0 <= code <= 0xD7 or code == 1:
        raise Malformed("a marker is missing")
    return code


def _pass_scan(walk: Walk) -> None:
    marker = _find_marker(walk.data, walk.position)
    if marker is None:
        raise Malformed("the scan does not end")
    walk.take(marker.start() - walk.position)


def _stays_in_jpeg(marker: int, content: bytes) -> bool:
    if marker in _APPLICATION:
        return marker in _JPEG_KEPT and content.startswith(_JPEG_KEPT[marker])
    return marker != _COMMENT


def walk_gif(data: bytes) -> Container:
    """Read the blocks (GIF89a, section 17); of the extensions only timing and looping stay."""
    walk = Walk(data)
    walk.take(6)
    width, height, flags = struct.unpack("<HHB", walk.take(7)[:5])
    _gif_colours(walk, flags)
    walk.keep_from(0)
    frames = 0
    while (block := walk.take(1)) != b";":
        start = walk.position - 1
        if block == b",":
            right, bottom = _gif_image(walk)
            width, height, frames = max(width, right), max(height, bottom), frames + 1
            walk.keep_from(start)
        elif block == b"!":
            if _gif_extension_stays(walk):
                walk.keep_from(start)
        else:
            raise Malformed("an unknown block")
    walk.keep(b";")
    walk.end()
    return Container(width, height, frames, walk.clean())


def _gif_colours(walk: Walk, flags: int) -> None:
    if flags & 0x80:
        walk.take(3 * 2 ** ((flags & 7) + 1))


def _gif_image(walk: Walk) -> tuple[int, int]:
    """Pass one frame; return how far it reaches to the right and down."""
    left, top, width, height, flags = struct.unpack("<HHHHB", walk.take(9))
    _gif_colours(walk, flags)
    walk.take(1)
    _gif_data(walk)
    return left + width, top + height


def _gif_data(walk: Walk) -> bytes:
    """Pass the sub-blocks and return the first."""
    first = block = walk.take(walk.take(1)[0])
    while block:
        block = walk.take(walk.take(1)[0])
    return first


def _gif_extension_stays(walk: Walk) -> bool:
    label, first = walk.take(1), _gif_data(walk)
    return label == b"\xf9" or (label == b"\xff" and first in (b"NETSCAPE2.0", b"ANIMEXTS1.0"))


_WEBP_KEPT = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_WEBP_METADATA = 0x08 | 0x04  # flags that promise EXIF and XMP


def walk_webp(data: bytes) -> Container:
    """Read the chunks (RFC 9649, section 2)."""
    walk = Walk(data)
    (promised,) = struct.unpack_from("<I", walk.take(12), 4)
    end = promised + 8
    size, frames, exif = (0, 0), 0, b""
    while walk.position < end:
        start = walk.position
        name, length = struct.unpack("<4sI", walk.take(8))
        content = walk.take(length + length % 2)
        size = size if start > 12 else _webp_size(name, content)
        frames += name == b"ANMF"
        exif = content.removeprefix(b"Exif\0\0") if name == b"EXIF" else exif
        if name == b"VP8X":
            walk.keep(data[start : start + 8] + bytes([content[0] & ~_WEBP_METADATA]) + content[1:])
        elif name in _WEBP_KEPT:
            walk.keep_from(start)
    walk.end()
    chunks = walk.clean()
    clean = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    return Container(*size, max(frames, 1), clean, exif)


def _webp_size(name: bytes, content: bytes) -> tuple[int, int]:
    """Return width and height, which the first chunk knows."""
    if name == b"VP8X":
        return int.from_bytes(content[4:7], "little") + 1, int.from_bytes(content[7:10], "little") + 1
    if name == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and content[:1] == b"\x2f":
        (bits,) = struct.unpack_from("<I", content, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise Malformed("the first chunk is no image")


Walker = Callable[[bytes], Container]
WALKERS: dict[str, Walker] = {
    "image/png": walk_png,
    "image/jpeg": walk_jpeg,
    "image/gif": walk_gif,
    "image/webp": walk_webp,
}


def walk(data: bytes, mime_type: str) -> Container:
    """Return what the container holds; raise Malformed when it is cut off, broken or continued by something else."""
    try:
        return WALKERS[mime_type](data)
    except struct.error as error:
        raise Malformed("a header is too short") from error
