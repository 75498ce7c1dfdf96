"""Sanitise an uploaded image: bounded, complete, and without metadata; runs in the decoder process.

First its container is parsed without decoding, so that a decompression bomb is found early. Metadata (EXIF, GPS, XMP,
texts, thumbnails, unknown parts) are left out of the copy.

The compressed pixels are never encoded again. The EXIF orientation tag stays, for the formats whose viewers apply it.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import PIL.WebPImagePlugin  # noqa: F401 (Pillow does not load it by itself)
from PIL import Image, ImageSequence, PngImagePlugin

from services.uploads.imaging.formats.gif import walk_gif
from services.uploads.imaging.formats.jpeg import walk_jpeg
from services.uploads.imaging.formats.png import walk_png
from services.uploads.imaging.formats.reader import Container
from services.uploads.imaging.formats.webp import walk_webp
from shared.problems import Problem

MAX_PIXELS = 64_000_000  # of a frame: phones send 50 million, screens 33 million
MAX_PASSES = 400_000_000  # pixels over all frames and scans, each of which is a pass over them
MAX_FRAMES = 1000
ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
UPRIGHT, ON_ITS_SIDE = 1, 5
TURNED = range(2, 9)
EXIF = b"Exif\0\0"
JFIF = b"\xff\xe0"
NOISE = bytes(range(1, 200))  # no marker of a JPEG is in it
MAX_PROFILE = 8 * 1024 * 1024  # bytes of a colour profile: those of printers have up to three million
PNG_HEADER = 8 + 25  # bytes of the signature and the first chunk

WALKERS = {"image/png": walk_png, "image/jpeg": walk_jpeg, "image/gif": walk_gif, "image/webp": walk_webp}

PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own check, behind the one of the header


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to keep; width and height in pixels, as it is seen."""

    data: bytes
    width: int
    height: int


def clean(data: bytes, mime_type: str) -> Picture:
    """Return the image without metadata but for its orientation; raise INVALID_IMAGE."""
    try:
        container = WALKERS[mime_type](data)
    except (ValueError, struct.error, IndexError) as error:  # a header is too short
        raise Problem("INVALID_IMAGE", "The image is cut off or broken.") from error
    _check_size(container)
    try:
        return _decoded(container, pillow_name(mime_type))
    except Exception as error:
        raise Problem("INVALID_IMAGE", "The image cannot be decoded.") from error


def pillow_name(mime_type: str) -> str:
    return mime_type.removeprefix("image/").upper()


def _check_size(container: Container) -> None:
    pixels = container.width * container.height
    if not 0 < pixels <= MAX_PIXELS:
        raise Problem("INVALID_IMAGE", f"The image must have from 1 to {MAX_PIXELS} pixels.")
    if not 0 < container.frames <= MAX_FRAMES or pixels * container.frames * container.scans > MAX_PASSES:
        raise Problem("INVALID_IMAGE", "The image has no frames, or too many frames or scans for its size.")


def _decoded(container: Container, format: str) -> Picture:
    """Decode every frame, which raises whatever Pillow finds wrong."""
    data, sides = container.clean + container.ending, (container.width, container.height)
    with Image.open(BytesIO(data), formats=[format]) as image:
        if image.size != (container.width, container.height):
            raise ValueError("two sizes")
        for frame in ImageSequence.Iterator(image):
            frame.load()
        if container.ending and not _is_whole(image, container, format):
            raise ValueError("cut off")
    orientation = _orientation(container.exif)
    if orientation in TURNED and format in _TAGGED:
        data = _TAGGED[format](data, orientation)
        sides = sides[::-1] if orientation >= ON_ITS_SIDE else sides
    return Picture(data, *sides)


def _is_whole(image: Image.Image, container: Container, format: str) -> bool:
    """Tell whether an image without its end marker has all its pixels: then bytes that follow change none."""
    with Image.open(BytesIO(container.clean + NOISE + container.ending), formats=[format]) as other:
        return image.tobytes() == other.tobytes()


def _orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 where there is none or it cannot be read."""
    if not exif:
        return UPRIGHT
    try:
        entries = Image.Exif()
        entries.load(EXIF + exif)
        return int(entries.get(ORIENTATION, UPRIGHT))
    except Exception:  # noqa: BLE001 (whatever is wrong with metadata that are dropped anyway)
        return UPRIGHT


def _exif(orientation: int) -> bytes:
    """Return EXIF data with nothing but the one tag."""
    entries = Image.Exif()
    entries[ORIENTATION] = orientation
    return entries.tobytes().removeprefix(EXIF)


def _tagged_png(data: bytes, orientation: int) -> bytes:
    content = b"eXIf" + _exif(orientation)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:PNG_HEADER] + chunk + data[PNG_HEADER:]


def _tagged_jpeg(data: bytes, orientation: int) -> bytes:
    """Put the segment behind that of JFIF, which comes first where there is one."""
    content = EXIF + _exif(orientation)
    place = 4 + int.from_bytes(data[4:6]) if data[2:4] == JFIF else 2
    return data[:place] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[place:]


_TAGGED = {"PNG": _tagged_png, "JPEG": _tagged_jpeg}  # browsers show a WebP as its pixels lie
