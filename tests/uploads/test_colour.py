"""Variants show the colours of their original, which says in one of several ways what its numbers mean."""

import struct
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from services.uploads.imaging.colour import BT709, PRIMARIES, made_profile
from services.uploads.imaging.resize import scaled
from tests.uploads import samples

Colour = tuple[int, ...]


def chunk(name: bytes, *numbers: float) -> bytes:
    return samples.chunk(name, struct.pack(f">{len(numbers)}I", *(round(number * 100_000) for number in numbers)))


def code_points(primaries: int, transfer: int) -> bytes:
    return samples.chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def shown(data: bytes, mime_type: str = "image/png", mode: str = "RGB") -> Colour:
    """Return the colour in the middle of a variant."""
    variant = scaled(data, mime_type, "image/png", (4, 4), crops=False)
    pixel = Image.open(BytesIO(variant.data)).convert(mode).getpixel((2, 2))
    assert isinstance(pixel, tuple)
    return pixel


def png(colour: Colour, *chunks: bytes, mode: str = "RGB") -> bytes:
    data = samples.encoded(Image.new(mode, (8, 8), colour), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    "colour, chunks, expected",
    [
        ((200, 100, 50), [], (200, 100, 50)),
        ((128, 128, 128), [chunk(b"gAMA", 1.0)], (188, 188, 188)),
        ((128, 100, 50), [chunk(b"gAMA", 0.45455)], (128, 100, 50)),
        ((128, 100, 50), [chunk(b"gAMA", 0.45455), chunk(b"cHRM", *BT709)], (128, 100, 50)),
        ((128, 128, 128), [samples.chunk(b"sRGB", b"\0"), chunk(b"gAMA", 1.0)], (128, 128, 128)),
        ((200, 100, 50), [chunk(b"cHRM", *PRIMARIES[12]), chunk(b"gAMA", 0.45455)], (216, 93, 28)),
        ((200, 100, 50), [code_points(12, 13)], (215, 93, 31)),
        ((200, 100, 50), [code_points(1, 13), chunk(b"gAMA", 1.0)], (200, 100, 50)),
        ((128, 128, 128), [code_points(1, 8)], (188, 188, 188)),
        ((148, 148, 148), [code_points(9, 16)], (255, 255, 255)),
        ((191, 191, 191), [code_points(9, 18)], (255, 255, 255)),
        ((200, 100, 50), [code_points(99, 99)], (200, 100, 50)),
        ((200, 100, 50), [chunk(b"cHRM", *[0.0] * 8)], (200, 100, 50)),
        ((200, 100, 50), [samples.chunk(b"gAMA", b"\0\0\0\0")], (200, 100, 50)),
    ],
)
def test_what_a_png_says_of_its_colours_counts(colour: Colour, chunks: list[bytes], expected: Colour) -> None:
    assert max(abs(a - b) for a, b in zip(shown(png(colour, *chunks)), expected, strict=True)) <= 4


@pytest.mark.parametrize("mode, colour", [("L", 128), ("LA", (128, 255)), ("I;16", 128 * 256), ("P", 128)])
@pytest.mark.parametrize("chunks", [[chunk(b"gAMA", 1.0)], [code_points(1, 8)]])
def test_what_a_grey_png_says_of_its_colours_counts(mode: str, colour: int | Colour, chunks: list[bytes]) -> None:
    image = Image.new("L", (8, 8), 128).convert("P") if mode == "P" else Image.new(mode, (8, 8), colour)
    data = samples.encoded(image, "PNG")
    assert shown(data) == (128, 128, 128)
    assert shown(data[:33] + b"".join(chunks) + data[33:]) == (188, 188, 188)


def test_transparency_stays() -> None:
    assert shown(png((200, 100, 50, 77), code_points(12, 13), mode="RGBA"), mode="RGBA")[3] == 77


@pytest.mark.parametrize("mode, colour", [("RGB", (200, 100, 50)), ("L", 128), ("CMYK", (0, 120, 200, 20))])
def test_a_profile_counts_where_it_fits(mode: str, colour: int | Colour) -> None:
    """The numbers of a CMYK picture with a profile of RGB colours stay; to a grey picture browsers apply it."""
    image = Image.new(mode, (8, 8), colour)
    plain = shown(samples.encoded(image, "JPEG", quality=95), "image/jpeg")
    wide = made_profile(PRIMARIES[12], lambda value: value**2.2)
    changed = shown(samples.encoded(image, "JPEG", quality=95, icc_profile=wide), "image/jpeg")
    assert (changed != plain) is (mode != "CMYK")
    broken = shown(samples.encoded(image, "JPEG", quality=95, icc_profile=b"no profile"), "image/jpeg")
    assert broken == plain


def test_a_made_profile_is_one() -> None:
    profile = ImageCms.ImageCmsProfile(BytesIO(made_profile(BT709, lambda value: value)))
    assert profile.profile.xcolor_space == "RGB "


def test_a_variant_of_an_animation_shows_its_first_frame() -> None:
    """The default image in front of an animated PNG is for viewers that show no animations."""
    hidden, first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime"))
    for default, expected in ((True, (0, 0, 255)), (False, (255, 0, 0))):
        frames = [first, second]
        data = samples.encoded(hidden, "PNG", save_all=True, append_images=frames, default_image=default)
        assert shown(data) == expected
