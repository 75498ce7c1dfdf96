"""Resize an image or convert its format; runs in the decoder process."""

from io import BytesIO
from typing import Any

from PIL import Image, ImageOps

from services.uploads.imaging import colour
from services.uploads.imaging.sanitizer import Picture, pillow_name

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 85, "progressive": True},
    "PNG": {"compress_level": 6},
    "WEBP": {"quality": 82, "method": 4},
}


def scaled(data: bytes, mime_type: str, to: str, size: tuple[int, int], crops: bool) -> Picture:
    """Return the picture in another type and size, which `crops` fills with a part of it."""
    size, format = (size[0], size[1]), pillow_name(to)
    with Image.open(BytesIO(data), formats=[pillow_name(mime_type)]) as image:
        # A JPEG is decoded to a half, a quarter or an eighth of each side, whichever way it is turned afterwards.
        image.draft(None, (max(size), max(size)))
        if image.info.get("default_image"):  # for viewers without animations; no frame of this one
            image.seek(1)
        image.load()
        upright = _with_8_bits(ImageOps.exif_transpose(image) or image)
        upright.format = image.format
        picture = _plain(colour.to_srgb(upright, data))
    if crops:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    else:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if format == "JPEG" and picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", size, "white"), picture).convert("RGB")
    if format == "WEBP" and picture.mode == "L":
        picture = picture.convert("RGB")
    buffer = BytesIO()
    picture.save(buffer, format, icc_profile=None, **_OPTIONS[format])
    return Picture(buffer.getvalue(), *size)


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Return a picture with 16 bits of grey with 8 of them; Pillow reads other pictures of 16 bits so."""
    return image.point(lambda value: value / 256).convert("L") if image.mode.startswith("I") else image


def _plain(image: Image.Image) -> Image.Image:
    """Return the first frame in a mode that every format has: grey, colour, or colour with transparency."""
    if "A" in image.mode or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
