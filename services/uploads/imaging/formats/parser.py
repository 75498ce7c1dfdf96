"""Walk the containers of images: how large the image is, where it ends, and what of it is no picture.

Nothing is decoded here, so that a bomb is found before it goes off; what is not the picture (EXIF, GPS, XMP,
texts, thumbnails, unknown parts) is left out of the copy, the picture's own bytes stay as they are.
"""

import struct
from collections.abc import Callable

from services.uploads.imaging.formats.gif import walk_gif
from services.uploads.imaging.formats.jpeg import walk_jpeg
from services.uploads.imaging.formats.png import walk_png
from services.uploads.imaging.formats.reader import Container, Malformed
from services.uploads.imaging.formats.webp import walk_webp

__all__ = ["Container", "Malformed", "walk"]

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
    except (struct.error, IndexError) as error:
        raise Malformed("a header is too short") from error
