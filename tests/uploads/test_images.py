"""What is made of images: no metadata, upright, else as they came."""

from io import BytesIO

import pytest
from PIL import Image, ImageSequence

from services.uploads import images
from services.uploads.scaling import scaled
from shared.problems import Problem
from tests.uploads import samples

FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


def clean(data: bytes, format: str) -> images.Picture:
    return images.clean(data, f"image/{format.lower()}")


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
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_turned_upright(format: str, orientation: int) -> None:
    cleaned = clean(samples.with_metadata(format, orientation), format)
    image = pixels(cleaned.data)
    assert image.size == (cleaned.width, cleaned.height) == ((30, 40) if orientation >= 5 else (40, 30))
    black = {2: "right", 3: "right", 4: "left", 5: "left", 6: "right", 7: "right", 8: "left"}[orientation]
    low = orientation in (3, 4, 7, 8)
    width, height = image.size
    corner = (width - 3 if black == "right" else 2, height - 3 if low else 2)
    others = [(x, y) for x in (2, width - 3) for y in (2, height - 3) if (x, y) != corner]
    values = [sum(image.getpixel(place)) for place in others]  # type: ignore[arg-type]
    assert sum(image.getpixel(corner)) < 60  # type: ignore[arg-type]
    assert sorted(values)[1] > 60
    assert samples.SECRET not in cleaned.data


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


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_turned(mode: str) -> None:
    data = samples.encoded(Image.new(mode, (9, 7)), "JPEG", exif=samples.exif(6))
    turned = clean(data, "JPEG")
    with Image.open(BytesIO(turned.data)) as image:
        assert (image.mode, image.size) == (mode, (7, 9))


def test_the_largest_image_is_taken() -> None:
    data = samples.encoded(Image.new("1", (5000, 5000)), "PNG")
    assert clean(data, "PNG").width == 5000


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
