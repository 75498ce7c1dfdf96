"""Make an image that came from outside harmless: bounded, whole, upright and without metadata; runs in the decoder."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import PIL.WebPImagePlugin  # noqa: F401 (Pillow does not load it by itself)
from PIL import Image, ImageSequence, JpegImagePlugin

from services.uploads.containers import Container, walk
from shared.problems import Problem

MAX_PIXELS = 64_000_000  # of a frame: phones send 50 million, screens 33 million
MAX_PASSES = 400_000_000  # pixels over all frames and scans, each of which is a pass over them
MAX_FRAMES = 1000
ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
UPRIGHT, ON_ITS_SIDE = 1, 5
PNG_HEADER = 8 + 25  # bytes of the signature and the first chunk
WEBP_QUALITY = 95

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own check, behind the one of the header
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to keep; width and height in pixels, as it is seen."""

    data: bytes
    width: int
    height: int


def clean(data: bytes, mime_type: str) -> Picture:
    """Return the image without metadata and upright; raise INVALID_IMAGE.

    The picture's bytes stay as they came, unless its EXIF data tell to turn it: then it is encoded again.
    """
    try:
        container = walk(data, mime_type)
    except ValueError as error:
        raise Problem("INVALID_IMAGE", "The image is cut off or broken, or something follows it.") from error
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
    with Image.open(BytesIO(container.clean), formats=[format]) as image:
        if image.size != (container.width, container.height):
            raise ValueError("two sizes")
        for frame in ImageSequence.Iterator(image):
            frame.load()
        orientation = _orientation(container.exif)
        if orientation not in _TURNS or (container.frames > 1 and format != "PNG"):
            return Picture(container.clean, container.width, container.height)
        if container.frames > 1:
            return _to_turn(container, orientation)
        return _turned(image, _TURNS[orientation], format)


def _orientation(exif: bytes) -> int:
    """Return how the camera was held; data that cannot be read tell nothing."""
    if not exif:
        return UPRIGHT
    try:
        entries = Image.Exif()
        entries.load(b"Exif\0\0" + exif)
        return int(entries.get(ORIENTATION, UPRIGHT))
    except Exception:  # noqa: BLE001 (whatever is wrong with metadata that are dropped anyway)
        return UPRIGHT


def _to_turn(container: Container, orientation: int) -> Picture:
    """Leave the frames of a PNG as they are, and of its EXIF data what tells browsers to turn them."""
    entries = Image.Exif()
    entries[ORIENTATION] = orientation
    content = b"eXIf" + entries.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    data = container.clean[:PNG_HEADER] + chunk + container.clean[PNG_HEADER:]
    sides = (container.width, container.height)
    return Picture(data, *(reversed(sides) if orientation >= ON_ITS_SIDE else sides))


def _turned(image: Any, turn: Image.Transpose, format: str) -> Picture:
    options: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    if format == "JPEG":  # as fine as it was
        options |= {"qtables": image.quantization, "subsampling": JpegImagePlugin.get_sampling(image)}
    if format == "WEBP":
        options |= {"quality": WEBP_QUALITY, "exif": b"", "xmp": b""}
    upright = image.transpose(turn)
    buffer = BytesIO()
    upright.save(buffer, format, **options)
    return Picture(buffer.getvalue(), *upright.size)
