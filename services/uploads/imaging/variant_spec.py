"""The variants of an image that the query `w`, `h`, `fit` and `format` can ask for."""

from dataclasses import dataclass
from typing import Any

from services.uploads.file_types.registry import GIF, JPEG, PNG, WEBP, FileType

MAX_SIDE = 2000  # pixels
FORMATS = {"webp": WEBP, "jpeg": JPEG, "png": PNG}
FITS = ("cover", "contain")


@dataclass(frozen=True, slots=True)
class Variant:
    """What to make of an image: a picture of so many pixels, filled by cropping or by all of the image."""

    kind: FileType
    width: int
    height: int
    crops: bool

    @property
    def name(self) -> str:
        """Return what tells it from the other variants of an image."""
        return f"{self.width}x{self.height}{'-cover' if self.crops else ''}.{self.kind.extension}"


def variant_of(kind: FileType, width: int, height: int, wish: dict[str, Any]) -> Variant:
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
