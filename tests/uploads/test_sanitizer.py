"""What is made of images: no metadata, upright, else as they came."""

import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageOps, ImageSequence

from services.uploads.imaging import sanitizer
from services.uploads.imaging.resize import scaled
from shared.problems import Problem
from tests.uploads import samples

FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


def clean(data: bytes, format: str) -> sanitizer.Picture:
    return sanitizer.clean(data, f"image/{format.lower()}")


def pixels(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_go_and_the_picture_stays(format: str) -> None:
    data = samples.with_metadata(format)
    assert samples.SECRET in data
    cleaned = clean(data, format).data
    assert samples.SECRET not in cleaned
    with Image.open(BytesIO(cleaned)) as image:
        assert not image.getexif()
        assert not {"comment", "Comment", "xmp", "exif", "photoshop"} & image.info.keys()
    assert pixels(cleaned).tobytes() == pixels(data).tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_clean_image_stays_byte_for_byte(format: str) -> None:
    data = samples.encoded(samples.picture(mode="P" if format == "GIF" else "RGB"), format)
    assert clean(data, format).data == data


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_an_image_keeps_the_tag_that_turns_it_and_its_bytes(format: str, orientation: int) -> None:
    data = samples.with_metadata(format, orientation)
    cleaned, upright = clean(data, format), clean(samples.with_metadata(format), format)
    assert samples.SECRET not in cleaned.data
    with Image.open(BytesIO(cleaned.data)) as image:
        assert dict(image.getexif()) == {samples.ORIENTATION: orientation}
        assert image.tobytes() == pixels_of(upright.data)
        assert ImageOps.exif_transpose(image).size == (cleaned.width, cleaned.height)
    assert (cleaned.width, cleaned.height) == ((30, 40) if orientation >= 5 else (40, 30))
    assert clean(cleaned.data, format) == cleaned
    small = scaled(cleaned.data, f"image/{format.lower()}", "image/png", (cleaned.width, cleaned.height), crops=False)
    with Image.open(BytesIO(cleaned.data)) as image:
        turned = ImageOps.exif_transpose(image).convert("RGB")
    difference = ImageChops.difference(pixels(small.data), turned)
    assert max(high for _, high in difference.getextrema()) < 8  # type: ignore[misc]


def pixels_of(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return image.tobytes()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_webp_stays_as_browsers_show_it(orientation: int) -> None:
    data = samples.encoded(samples.picture(), "WEBP", lossless=True, exif=samples.exif(orientation))
    cleaned = clean(data, "WEBP")
    assert (cleaned.width, cleaned.height) == (40, 30)
    assert pixels(cleaned.data).tobytes() == samples.picture().tobytes()
    with Image.open(BytesIO(cleaned.data)) as image:
        assert dict(image.getexif()) == {}


def test_a_turned_png_loses_nothing_of_its_colours() -> None:
    """What Pillow would not write again: 16 bits, gAMA, cHRM, cICP and pHYs."""
    contents = {
        b"gAMA": b"\0\0\xb1\x8f",
        b"cHRM": bytes(32),
        b"cICP": b"\x09\x10\0\1",
        b"pHYs": b"\0\0\x0b\x13" * 2 + b"\1",
    }
    chunks = [samples.chunk(name, content) for name, content in contents.items()]
    plain = samples.encoded(Image.new("I;16", (9, 7), 12345), "PNG")
    coloured = plain[:33] + b"".join(chunks) + plain[33:]
    turned = coloured[:33] + samples.chunk(b"eXIf", samples.exif(6)[6:]) + coloured[33:]
    cleaned = clean(turned, "PNG")
    assert (cleaned.width, cleaned.height) == (7, 9)
    assert all(chunk in cleaned.data for chunk in chunks)
    assert cleaned.data[-len(coloured) + 33 :] == coloured[33:]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rest", [b"\n", b"\0" * 10, b"trailer", samples.ZIP, samples.HTML])
def test_what_follows_an_image_is_dropped(format: str, rest: bytes) -> None:
    data = samples.with_metadata(format)
    assert clean(data + rest, format) == clean(data, format)


def test_an_image_that_every_viewer_shows_is_whole() -> None:
    gif, jpeg = samples.gif(3), samples.jpeg()
    assert clean(gif[:-1], "GIF").data == gif
    assert clean(jpeg[:-2], "JPEG").data == jpeg
    assert clean(jpeg[:20] + bytes(50_000) + jpeg[20:], "JPEG").data == jpeg
    scan = jpeg.rindex(b"\xff\xda")
    for size in range(scan + 20, len(jpeg) - 20, 40):
        with pytest.raises(Problem, match="INVALID_IMAGE"):
            clean(jpeg[:size], "JPEG")


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc4", b"\xff\xda"])
@pytest.mark.parametrize("stray", [b"\n", b"stray bytes", b"\xff\x00\x12", samples.HTML])
def test_stray_bytes_between_the_segments_of_a_jpeg_are_dropped(marker: bytes, stray: bytes) -> None:
    jpeg = samples.jpeg()
    assert clean(jpeg.replace(marker, stray + marker, 1), "JPEG").data == jpeg


def test_a_png_with_the_profile_of_a_printer_is_taken() -> None:
    profile = bytes(3_000_000)
    data = samples.png()
    chunk = samples.chunk(b"iCCP", b"press\0\0" + zlib.compress(profile))
    assert clean(data[:33] + chunk + data[33:], "PNG").width == 40


@pytest.mark.parametrize("orientation", [0, 9, 700, "x"])
def test_an_orientation_that_means_nothing_turns_nothing(orientation: int | str) -> None:
    data = samples.jpeg(
        exif=samples.exif(3).replace(b"\x03\x00", b"\x09\x00", 1) if orientation == 9 else b"Exif\0\0junk"
    )
    assert clean(data, "JPEG").width == 40


def test_a_colour_profile_stays() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("PNG", "JPEG", "WEBP"):
        for orientation in (1, 6):
            data = samples.encoded(samples.picture(), format, icc_profile=profile, exif=samples.exif(orientation))
            with Image.open(BytesIO(clean(data, format).data)) as image:
                assert image.info["icc_profile"] == profile


def test_a_webp_does_not_promise_what_was_taken_out() -> None:
    data = samples.with_metadata("WEBP")
    assert (data[20] & 0x0C, clean(data, "WEBP").data[20] & 0x0C) == (0x0C, 0)


def test_a_jpeg_loses_the_thumbnail_in_its_first_header() -> None:
    data = samples.jpeg()
    assert data[2:6] == b"\xff\xe0\x00\x10"
    thumbnail = samples.SECRET.ljust(75, b".")  # 5 × 5 pixels
    with_one = data[:2] + b"\xff\xe0" + (16 + 75).to_bytes(2) + data[6:18] + b"\5\5" + thumbnail + data[20:]
    assert clean(with_one, "JPEG").data == data
    short = data[:2] + b"\xff\xe0\x00\x09JFIF\0\1\1" + data[20:]
    assert clean(short, "JPEG").data[2:11] == data[2:11]


def test_frames_of_a_webp_keep_nothing_but_their_picture() -> None:
    frames = [samples.picture().rotate(20 * number) for number in range(3)]
    data = samples.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert clean(data, "WEBP").data == data
    hidden = samples.riff(b"EXIF", samples.SECRET + b".") + samples.riff(b"none", samples.SECRET)
    start = data.index(b"ANMF")
    length = int.from_bytes(data[start + 4 : start + 8], "little")
    end = start + 8 + length
    frame = samples.riff(b"ANMF", data[start + 8 : end] + hidden)
    stuffed = samples.riff(b"RIFF", data[8:start] + frame + data[end:])
    assert samples.SECRET in stuffed
    assert clean(stuffed, "WEBP").data == data


def test_an_animation_keeps_its_frames_and_times() -> None:
    for format in ("GIF", "PNG", "WEBP"):
        frames = [samples.picture().rotate(20 * number) for number in range(4)]
        data = samples.encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=70, loop=0)
        with Image.open(BytesIO(clean(data, format).data)) as image:
            times = [frame.load() and frame.info["duration"] for frame in ImageSequence.Iterator(image)]
            assert times == [70] * 4
            assert image.info["loop"] == 0


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_is_turned_by_who_shows_it(format: str, orientation: int) -> None:
    frames = [samples.picture().rotate(20 * number) for number in range(3)]
    exif = samples.exif(orientation)
    data = samples.encoded(frames[0], format, save_all=True, append_images=frames[1:], exif=exif, lossless=True)
    cleaned = clean(data, format)
    assert samples.SECRET not in cleaned.data
    turns = format == "PNG" and orientation > 1
    assert (cleaned.width, cleaned.height) == ((30, 40) if turns and orientation == 6 else (40, 30))
    with Image.open(BytesIO(cleaned.data)) as image:
        assert dict(image.getexif()) == ({samples.ORIENTATION: orientation} if turns else {})
        assert image.convert("RGB").tobytes() == frames[0].tobytes()
        assert image.n_frames == 3  # type: ignore[attr-defined]
    assert clean(cleaned.data, format) == cleaned
    small = scaled(cleaned.data, f"image/{format.lower()}", "image/png", (cleaned.width, cleaned.height), crops=False)
    turned = frames[0].transpose(Image.Transpose.ROTATE_270 if orientation == 6 else Image.Transpose.ROTATE_180)
    assert pixels(small.data).tobytes() == (turned if turns else frames[0]).tobytes()


def test_what_a_camera_puts_behind_a_jpeg_is_dropped() -> None:
    data = samples.jpeg()
    assert clean(data + samples.jpeg(9, 9), "JPEG").data == data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    data = samples.encoded(Image.new(mode, (9, 7)), "PNG")
    assert clean(data, "PNG").data == data


def test_the_largest_image_is_taken() -> None:
    data = samples.encoded(Image.new("1", (8000, 8000)), "PNG")
    assert clean(data, "PNG").width == 8000


@pytest.mark.parametrize("format", FORMATS)
def test_no_damage_is_more_than_an_invalid_image(format: str) -> None:
    """Flip and cut bytes everywhere: each result is an image or is refused, and nothing else happens."""
    data = samples.with_metadata(format)
    for position in range(0, len(data), max(1, len(data) // 150)):
        for damaged in (data[:position], data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]):
            assert outcome(damaged, format) in ("an image", "INVALID_IMAGE"), position


def outcome(data: bytes, format: str) -> str:
    try:
        clean(data, format)
    except Problem as problem:
        return problem.code
    return "an image"
