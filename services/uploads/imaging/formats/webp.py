"""The chunks of a WebP."""

import struct

from services.uploads.imaging.formats.reader import Container, Malformed, Walk

_WEBP_KEPT = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ICCP"))
_FRAME_KEPT = frozenset((b"VP8 ", b"VP8L", b"ALPH"))
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
        elif name == b"ANMF":
            frame = _bare_frame(content)
            walk.keep(struct.pack("<4sI", name, len(frame)) + frame)
        elif name in _WEBP_KEPT:
            walk.keep_from(start)
    chunks = walk.clean()
    clean = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    return Container(*size, max(frames, 1), clean, exif)


def _bare_frame(content: bytes) -> bytes:
    """Return a frame of an animation with nothing in it but its place and its picture."""
    walk = Walk(content)
    walk.keep(walk.take(16))
    while walk.position < len(content):
        start = walk.position
        name, length = struct.unpack("<4sI", walk.take(8))
        walk.take(length + length % 2)
        if name in _FRAME_KEPT:
            walk.keep_from(start)
    return walk.clean()


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
