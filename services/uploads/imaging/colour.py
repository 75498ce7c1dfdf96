"""Convert a picture to sRGB, the colour space of a picture without a profile; runs in the decoder process.

A PNG says what its colours are in one of four ways, of which the first counts (PNG 3rd edition, section 4.3): cICP, an
ICC profile, sRGB, gAMA with cHRM. The last two become an ICC profile of a matrix and a curve (ICC.1:2022, 8.3.3).
"""

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

Matrix = list[list[float]]
Curve = Callable[[float], float]
Chromaticities = tuple[float, ...]  # x and y of white, red, green and blue

D65 = (0.3127, 0.3290)
BT709: Chromaticities = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PRIMARIES = {
    1: BT709,
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
D50 = (0.9642, 1.0, 0.8249)
BRADFORD = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
STEPS = 1024  # entries of a curve
WHITE_NITS = 203  # of diffuse white in an HDR picture (ITU-R BT.2408)
USUAL_GAMMA = 0.45455


def to_srgb(image: Image.Image, data: bytes) -> Image.Image:
    """Return the picture in sRGB; one whose profile cannot be used keeps its numbers. `data` is its file."""
    try:
        profile = _profile(image, data)
        if profile is None:
            return image
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        colours = image.convert(_mode(image.mode, source.profile.xcolor_space))
        converted = _converted(colours, source)
        if "A" in image.mode or "transparency" in image.info:
            converted.putalpha(image.convert("RGBA").getchannel("A"))
        return converted
    except (ImageCms.PyCMSError, OSError, ValueError, ZeroDivisionError):
        return image


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(
        source, target, image.mode, "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    return transform.apply(image)


def _mode(mode: str, space: str) -> str:
    """Return the mode to apply a profile in. As in browsers, a grey picture may have a profile of RGB colours."""
    if mode == "CMYK":
        return mode
    return "L" if mode in ("1", "L", "LA") and space == "GRAY" else "RGB"


def _profile(image: Image.Image, data: bytes) -> bytes | None:
    """Return the ICC profile of the picture, or one made of what its chunks say, None for sRGB."""
    chunks = dict(_chunks(data)) if image.format == "PNG" else {}
    if content := chunks.get(b"cICP"):
        return _of_code_points(*content[:2])
    if embedded := image.info.get("icc_profile"):
        return bytes(embedded)
    if b"sRGB" in chunks or not (b"gAMA" in chunks or b"cHRM" in chunks):
        return None
    gamma = int.from_bytes(chunks[b"gAMA"]) / 100_000 if b"gAMA" in chunks else USUAL_GAMMA
    places = BT709
    if b"cHRM" in chunks:
        places = tuple(place / 100_000 for place in struct.unpack(">8I", chunks[b"cHRM"]))
    if abs(gamma - USUAL_GAMMA) < 0.01 and max(abs(a - b) for a, b in zip(places, BT709, strict=True)) < 0.002:
        return None
    return made_profile(places, lambda value: value ** (1 / gamma))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG in front of its pixels."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if name == b"IDAT":
            return
        yield name, data[position + 8 : position + 8 + length]
        position += 12 + length


def _of_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return a profile for the code points of ITU-T H.273, None for those of sRGB and unknown ones."""
    curve = _CURVES.get(transfer, _srgb)
    if primaries not in PRIMARIES or (primaries == 1 and curve is _srgb):
        return None
    return made_profile(PRIMARIES[primaries], curve)


def _srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _pq(value: float) -> float:
    """SMPTE ST 2084, with white at WHITE_NITS; what is brighter is cut off."""
    root = value ** (1 / 78.84375)
    light = (max(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return float(min(10_000 * light / WHITE_NITS, 1.0))


def _hlg(value: float) -> float:
    """ITU-R BT.2100 for a screen of 1 000 nits, white at 75 %."""
    light = value**2 / 3 if value <= 0.5 else (2.718281828 ** ((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return float(min((light / 0.2650) ** 1.2, 1))


_CURVES: dict[int, Curve] = {8: lambda value: value, 16: _pq, 18: _hlg}


def made_profile(places: Chromaticities, curve: Curve) -> bytes:
    """Return an ICC profile of these chromaticities and this curve from the numbers of the picture to light."""
    columns = _to_d50(places)
    table = [round(curve(step / (STEPS - 1)) * 65535) for step in range(STEPS)]
    tags: list[tuple[bytes, bytes]] = [(b"wtpt", _xyz(D50))]
    tags += [(name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]
    tags += [(name, b"curv" + struct.pack(f">II{STEPS}H", 0, STEPS, *table)) for name in (b"rTRC", b"gTRC", b"bTRC")]
    offset, heads, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags:
        heads += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    size = offset + len(body)
    head = (
        struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x04000000, b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"
    )
    return head.ljust(68, b"\0") + _xyz(D50)[8:] + bytes(48) + struct.pack(">I", len(tags)) + heads + body


def _xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _to_d50(places: Chromaticities) -> list[list[float]]:
    """Return the XYZ of red, green and blue, adapted to the white of profiles."""
    white, *colours = [[x / y, 1.0, (1 - x - y) / y] for x, y in zip(places[::2], places[1::2], strict=True)]
    primaries = [list(row) for row in zip(*colours, strict=True)]
    scales = _times(_inverse(primaries), white)
    cone, target = _times(BRADFORD, white), _times(BRADFORD, list(D50))
    gains = [after / before for after, before in zip(target, cone, strict=True)]
    columns = []
    for colour, scale in zip(colours, scales, strict=True):
        response = _times(BRADFORD, [value * scale for value in colour])
        columns.append(_times(_inverse(BRADFORD), [value * gain for value, gain in zip(response, gains, strict=True)]))
    return columns


def _times(matrix: Matrix, vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _inverse(m: Matrix) -> Matrix:
    """Return the inverse of 3 × 3 numbers by their cofactors; raise ZeroDivisionError."""
    (a, b, c), (d, e, f), (g, h, i) = m
    cofactors = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return [[value / determinant for value in row] for row in cofactors]
