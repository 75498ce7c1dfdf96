"""The blocks of a GIF."""

import struct

from services.uploads.imaging.formats.reader import Container, Malformed, Walk


def walk_gif(data: bytes) -> Container:
    """Read the blocks (GIF89a, section 17); of the extensions only timing and looping stay."""
    walk = Walk(data)
    walk.take(6)
    width, height, flags = struct.unpack("<HHB", walk.take(7)[:5])
    _gif_colours(walk, flags)
    walk.keep_from(0)
    frames = 0
    while not walk.at_end and (block := walk.take(1)) != b";":  # some writers forget the last byte
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
