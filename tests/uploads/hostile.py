"""A hundred files that mean harm, made when they are needed: name → bytes."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from PIL import Image

from tests.uploads import samples
from tests.uploads.samples import chunk, forged_gif, forged_jpeg, forged_png, forged_webp

Make = Callable[[], bytes]
WHOLE: dict[str, Make] = {
    "png": lambda: samples.png(120, 90),
    "jpeg": lambda: samples.jpeg(120, 90),
    "gif": lambda: samples.gif(3),
    "webp": samples.webp,
    "pdf": lambda: samples.pdf(2000),
}
BOMBS = {"png": forged_png, "jpeg": forged_jpeg, "gif": forged_gif, "webp": forged_webp}
SIDES = ((0, 0), (0, 10), (10, 0), (65535, 65535), (8001, 8000), (16383, 16383), (1, 65535))


def files() -> Iterator[tuple[str, Make]]:
    """Name the files, and how each is made."""
    for name, make in WHOLE.items():
        yield from damaged(name, make)
    for name, forge in BOMBS.items():
        for width, height in SIDES:
            if name != "webp" or (width and height):  # its header cannot say none
                yield f"{name} of {width} × {height}", partial(forge, width, height)
    yield from PNGS.items()
    yield from JPEGS.items()
    yield from ANIMATIONS.items()
    yield from WEBPS.items()
    yield from POLYGLOTS.items()
    yield from PDFS.items()


def damaged(name: str, make: Make) -> Iterator[tuple[str, Make]]:
    """Cut a file off, and change bytes of it, at places that are the same every time."""
    for number in range(4):
        yield f"{name} cut off {number}", partial(cut, make, number)
        yield f"{name} with other bytes {number}", partial(changed, make, number)


def cut(make: Make, seed: int) -> bytes:
    data = make()
    return data[: random.Random(seed).randrange(13, len(data) - 8)]


def changed(make: Make, seed: int) -> bytes:
    chance, changed = random.Random(seed), bytearray(make())
    for _ in range(1 + len(changed) // 200):
        changed[chance.randrange(12, len(changed))] = chance.randrange(256)
    return bytes(changed)


def png_of(*chunks: bytes, width: int = 10, height: int = 10, depth: int = 8, colour: int = 0, lace: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, lace))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


PIXELS = chunk(b"IDAT", zlib.compress(b"\0" * 110))
BIG = zlib.compress(bytes(60_000_000), 9)  # 60 MB in 60 kB
PNGS: dict[str, Make] = {
    "png whose pixels go on for 60 MB": lambda: png_of(chunk(b"IDAT", BIG)),
    "png with a text of 60 MB": lambda: png_of(chunk(b"zTXt", b"a\0\0" + BIG), PIXELS),
    "png with an international text of 60 MB": lambda: png_of(chunk(b"iTXt", b"a\0\1\0\0\0" + BIG), PIXELS),
    "png with a colour profile of 60 MB": lambda: png_of(chunk(b"iCCP", b"a\0\0" + BIG), PIXELS),
    "png of 25 million pixels in one bit": lambda: png_of(
        chunk(b"IDAT", zlib.compress(b"\0" * 626 * 5000)), width=5000, height=5000, depth=1
    ),
    "png of 25 million pixels, interlaced": lambda: png_of(
        chunk(b"IDAT", zlib.compress(bytes(5000 * 5001 + 40_000))), width=5000, height=5000, lace=1
    ),
    "png of 25 million pixels in 64 bits": lambda: png_of(
        chunk(b"IDAT", zlib.compress(bytes(5000 * 40_001), 1)), width=5000, height=5000, depth=16, colour=6
    ),
    "png without a palette": lambda: png_of(PIXELS, colour=3),
    "png of an unknown colour": lambda: png_of(PIXELS, colour=5),
    "png with pixels of no filter": lambda: png_of(chunk(b"IDAT", zlib.compress(b"\x09" * 110))),
    "png with wrong checksums": lambda: png_of(PIXELS).replace(PIXELS[-4:], b"\1\2\3\4"),
    "png in pieces of a byte": lambda: png_of(*[chunk(b"IDAT", bytes([b])) for b in zlib.compress(bytes(110)) * 1]),
    "png with 100 000 empty pieces": lambda: png_of(*[chunk(b"IDAT", b"")] * 100_000, PIXELS),
    "png with 100 000 unknown chunks": lambda: png_of(*[chunk(b"abCd", b"x")] * 100_000, PIXELS),
    "png with a chunk that claims 4 GB": lambda: png_of(b"\xff\xff\xff\xffIDAT", PIXELS),
    "png with two headers": lambda: png_of(chunk(b"IHDR", struct.pack(">IIBBBBB", 9999, 9999, 8, 0, 0, 0, 0)), PIXELS),
    "png with metadata of 4 MB": lambda: png_of(chunk(b"eXIf", b"II*\0" + bytes(4_000_000)), PIXELS),
    "png of 2 000 million frames": lambda: png_of(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), PIXELS),
    "png with a frame outside": lambda: png_of(
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 10, 10, 0, 0, 1, 1, 0, 0)),
        PIXELS,
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 60_000, 60_000, 4_000_000_000, 9, 1, 1, 0, 0)),
        chunk(b"fdAT", b"\0\0\0\2" + zlib.compress(b"\0" * 110)),
    ),
}


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """Return a JPEG with such segments behind its start."""
    data = samples.jpeg()
    more = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in segments)
    return data[:2] + more + data[2:]


LOOP = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
JPEGS: dict[str, Make] = {
    "jpeg of 200 scans": samples.many_scans,
    "jpeg with metadata of 4 MB": lambda: with_segments(*[(0xE1, b"Exif\0\0" + bytes(65_000))] * 64),
    "jpeg with a colour profile of 4 MB": lambda: with_segments(
        *[(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(65_000)) for number in range(1, 65)]
    ),
    "jpeg with metadata in a circle": lambda: with_segments((0xE1, LOOP)),
    "jpeg with a segment of no length": lambda: samples.jpeg()[:2] + b"\xff\xe1\0\0" + samples.jpeg()[2:],
    "jpeg in a jpeg in a jpeg": lambda: with_segments((0xE1, with_segments((0xE1, samples.jpeg())))),
    "jpeg with tables of nothing": lambda: with_segments((0xDB, bytes(65)), (0xC4, bytes(19))),
    "jpeg of twelve bits": lambda: samples.jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "jpeg in arithmetic code": lambda: samples.jpeg().replace(b"\xff\xc0", b"\xff\xc9"),
    "jpeg of nothing but its start": lambda: b"\xff\xd8" * 2_000_000,
    "jpeg of a million restarts": lambda: samples.jpeg()[:-2] + b"\xff\xd0" * 1_000_000 + b"\xff\xd9",
    "jpeg with a restart after each block": lambda: with_segments((0xDD, b"\0\1")),
}


def many_frames(count: int, width: int = 1, height: int = 1) -> bytes:
    """Return a GIF of so many frames of one pixel on a screen of such a size."""
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6) + frame * count + b";"


ANIMATIONS: dict[str, Make] = {
    "gif of 300 000 frames": lambda: many_frames(300_000),
    "gif of 1 000 frames on a large screen": lambda: many_frames(1000, 5000, 5000),
    "gif of 1 000 frames": lambda: many_frames(1000, 500, 500),
    "gif of no frames": lambda: many_frames(0),
    "gif of impossible codes": lambda: many_frames(1).replace(b"\2\2D\1\0", b"\x0c\2\xff\xff\0"),
    "gif whose blocks never end": lambda: many_frames(1)[:-4] + b"\xff" * 1_000_000,
    "gif of a million comments": lambda: many_frames(1)[:-1] + b"!\xfe\1x\0" * 900_000 + b";",
}


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


CANVAS = b"\x02\0\0\0\x0f\0\0\x0f\0\0"
FRAME = bytes(6) + b"\x0f\0\0\x0f\0\0" + bytes(4)
WEBPS: dict[str, Make] = {
    "webp of 200 000 empty frames": lambda: riff((b"VP8X", CANVAS), (b"ANIM", bytes(6)), *[(b"ANMF", FRAME)] * 150_000),
    "webp in a webp in a webp": lambda: riff((b"VP8X", CANVAS), (b"ANMF", riff((b"ANMF", riff((b"VP8 ", b"x")))))),
    "webp that claims 4 GB": lambda: samples.webp()[:4] + b"\xff" * 4 + samples.webp()[8:],
    "webp of nothing": lambda: riff(),
    "webp of a lossless bomb": lambda: riff((b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(200))),
    "webp with two pictures": lambda: riff((b"VP8 ", samples.webp()[20:]), (b"VP8L", bytes(100))),
}
SCRIPT = b"<script>alert(1)</script>"
POLYGLOTS: dict[str, Make] = {
    "gif and script": lambda: samples.GIF_AND_SCRIPT,
    "png and archive": lambda: samples.png() + samples.ZIP,
    "png and page": lambda: samples.png() + samples.HTML,
    "gif and archive": lambda: samples.gif() + samples.ZIP,
    "webp and archive": lambda: samples.webp() + samples.ZIP,
    "jpeg and program": lambda: samples.jpeg() + b"<?php system($_GET[0]); ?>" * 1000,
    "png and jpeg": lambda: samples.png() + samples.jpeg(),
    "page that begins like a png": lambda: b"\x89PNG\r\n\x1a\n" + samples.HTML,
    "page in a comment": lambda: with_segments((0xFE, SCRIPT)),
    "svg": lambda: samples.SVG,
    "archive": lambda: samples.ZIP,
    "bitmap": lambda: samples.BMP,
    "tiff": lambda: samples.encoded(Image.new("L", (9, 9)), "TIFF"),
    "icon with a png": lambda: b"\0\0\1\0" + samples.png(),
}
PDFS: dict[str, Make] = {
    "pdf of nothing": lambda: b"%PDF-1.7\n%%EOF",
    "pdf of a million brackets": lambda: b"%PDF-1.7\n" + b"[" * 1_000_000 + b"\n%%EOF",
    "pdf whose tables refer to themselves": lambda: b"%PDF-1.7\ntrailer\n<</Prev 9>>\nstartxref\n9\n%%EOF",
    "pdf with a program": lambda: samples.pdf(content=b"3 0 obj<</S/JavaScript/JS(app.alert(1))>>endobj\n"),
    "pdf and page": lambda: b"%PDF-1.7\n" + samples.HTML + b"\n%%EOF",
    "page before a pdf": lambda: samples.HTML + samples.pdf(),
    "pdf and archive": lambda: samples.pdf() + samples.ZIP,
    "pdf and archive around its end": lambda: samples.zipped(samples.pdf()),
    "pdf with a deflated bomb": lambda: samples.pdf(content=b"3 0 obj<<>>stream\n" + BIG + b"\nendstream endobj\n"),
}
