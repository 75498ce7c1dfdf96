"""Make a smaller picture of a stored image, in one of three formats."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, ImageOps

from services.uploads.inspection import GIF, JPEG, PNG, WEBP, Kind

MAX_SIDE = 2000  # pixels
FORMATS = {"webp": WEBP, "jpeg": JPEG, "png": PNG}
FITS = ("cover", "contain")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 85, "progressive": True},
    "PNG": {"compress_level": 6},
    "WEBP": {"quality": 82, "method": 4},
}


@dataclass(frozen=True, slots=True)
class Variant:
    """What to make of an image: a picture of so many pixels, filled by cropping or by all of the image."""

    kind: Kind
    width: int
    height: int
    crops: bool

    @property
    def name(self) -> str:
        """Return what tells it from the other variants of an image."""
        return f"{self.width}x{self.height}{'-cover' if self.crops else ''}.{self.kind.extension}"


def variant_of(kind: Kind, width: int, height: int, wish: dict[str, Any]) -> Variant:
    """Return what the wish makes of an image of such a size.

    `cover` with both sides gives exactly these and crops what is too much. All else gives the largest whole picture
    within the sides, 2 000 pixels where one is not said, and never enlarges. A GIF's first frame becomes a PNG.
    """
    if "format" in wish:
        kind = FORMATS[wish["format"]]
    elif kind is GIF:
        kind = PNG
    wide, high = wish.get("w", MAX_SIDE), wish.get("h", MAX_SIDE)
    if wish.get("fit") == "cover" and "w" in wish and "h" in wish:
        return Variant(kind, wide, high, crops=True)
    scale = min(wide / width, high / height, 1)
    return Variant(kind, max(1, round(width * scale)), max(1, round(height * scale)), crops=False)


def resized(data: bytes, kind: Kind, variant: Variant) -> bytes:
    """Return the variant of an image that was cleaned when it came in."""
    size, format = (variant.width, variant.height), _pillow_name(variant.kind)
    with Image.open(BytesIO(data), formats=[_pillow_name(kind)]) as image:
        image.draft(None, (2 * size[0], 2 * size[1]))  # a JPEG need not be decoded in full
        profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
        picture = _plain(image)
    if variant.crops:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    else:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if format == "JPEG" and picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", size, "white"), picture).convert("RGB")
    if format == "WEBP" and picture.mode == "L":
        picture, profile = picture.convert("RGB"), None
    buffer = BytesIO()
    picture.save(buffer, format, icc_profile=profile, **_OPTIONS[format])
    return buffer.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """Return the first frame in a mode that every format has: grey, colour, or colour with transparency."""
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.point(lambda value: value / 256).convert("L")
    if "A" in image.mode or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _pillow_name(kind: Kind) -> str:
    return kind.mime_type.removeprefix("image/").upper()
