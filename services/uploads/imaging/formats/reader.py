"""A bounds-checked cursor over a file, which collects the pieces to keep."""

from dataclasses import dataclass

MAX_STEPS = 100_000  # pieces that are looked at; more is an attack on our time


class Malformed(ValueError):
    """The bytes are no complete image of their kind."""


@dataclass(frozen=True, slots=True)
class Container:
    """An image before it is decoded; `clean` is the file without metadata, `exif` the TIFF block it had.

    `scans` are the passes over all pixels that decoding takes. `ending` is missing at the end of `clean`: whether the
    image is whole without it, only the decoder can tell.
    """

    width: int
    height: int
    frames: int
    clean: bytes
    exif: bytes = b""
    scans: int = 1
    ending: bytes = b""


class Walk:
    """A position in a file, never beyond its end, and the pieces to keep."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self._steps = 0
        self._kept: list[memoryview | bytes] = []

    def take(self, size: int) -> bytes:
        """Return the next bytes; raise Malformed at an early end of the file."""
        self._steps += 1
        end = self.position + size
        if size < 0 or end > len(self.data) or self._steps > MAX_STEPS:
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
        """Return the pieces to keep; what follows the image is not among them."""
        return b"".join(self._kept)

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def skip_to(self, byte: bytes) -> None:
        """Go to the next such byte, or to the end."""
        found = self.data.find(byte, self.position)
        self.position = found if found >= 0 else len(self.data)
