"""The chunks of a PNG."""

import struct
import zlib

from services.uploads.imaging.formats.reader import Container, Malformed, Walk

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
    return Container(width, height, max(animated, 1), walk.clean(), exif)
