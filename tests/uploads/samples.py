"""Files to send, harmless and hostile, made when they are needed."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

GPS = 0x8825
ORIENTATION = 0x0112
SECRET = b"taken at home"


def picture(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """Return an image of which every quarter looks different."""
    image = Image.linear_gradient("L").resize((width, height)).convert(mode)
    image.paste(0, (0, 0, width // 2, height // 2))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int = 40, height: int = 30, **options: Any) -> bytes:
    return encoded(picture(width, height), "PNG", **options)


def jpeg(width: int = 40, height: int = 30, **options: Any) -> bytes:
    return encoded(picture(width, height), "JPEG", **options)


def webp(**options: Any) -> bytes:
    return encoded(picture(), "WEBP", **options)


def gif(frames: int = 1, **options: Any) -> bytes:
    images = [picture().rotate(10 * number).convert("P") for number in range(frames)]
    return encoded(images[0], "GIF", save_all=frames > 1, append_images=images[1:], **options)


def pdf(size: int = 0, content: bytes = b"") -> bytes:
    """Return a PDF of no pages with something in it, filled up to a size."""
    objects = (
        b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"
    )
    places = (objects.index(b"1 0 obj"), objects.index(b"2 0 obj"))
    entries = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 3\n0000000000 65535 f \n" + entries
    end = b"\ntrailer\n<</Size 3/Root 1 0 R>>\nstartxref\n%012d\n%%%%EOF\n"
    filling = content + b" " * (size - len(objects + content + table) - len(end % 0))
    return objects + filling + table + end % len(objects + filling)


def exif(orientation: int = 1) -> bytes:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    data[0x010E] = SECRET.decode()
    data.get_ifd(GPS)[1] = "N"
    return data.tobytes()


def with_metadata(format: str, orientation: int = 1) -> bytes:
    """Return an image that tells where it was taken, in every place of its format."""
    note = SECRET.decode()
    if format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", note)
        texts.add_itxt("XML:com.adobe.xmp", note)
        return png(pnginfo=texts, exif=exif(orientation))
    if format == "GIF":
        return gif(comment=SECRET)
    if format == "WEBP":
        return webp(exif=exif(orientation), xmp=SECRET)
    plain = jpeg(exif=exif(orientation), comment=SECRET)
    iptc = b"Photoshop 3.0\0" + SECRET
    return plain[:2] + b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + plain[2:] + SECRET


BOUNDARY = "frontier"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
END = f"--{BOUNDARY}--\r\n".encode()


def part(disposition: str, content: bytes = b"", *headers: str) -> bytes:
    head = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(head).encode() + content + b"\r\n"


def form(data: bytes | None = None, name: str = "dot.png", mime_type: str = "image/png", **fields: str) -> bytes:
    """Return the body of an upload."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    file = part(f'name="file"; filename="{quoted}"', png() if data is None else data, f"Content-Type: {mime_type}")
    return file + texts(**fields) + END


def form_of_many(files: list[tuple[str, bytes]], **fields: str) -> bytes:
    """Return the body of an upload of several files."""
    parts = [part(f'name="files"; filename="{name}"', data) for name, data in files]
    return b"".join(parts) + texts(**fields) + END


def texts(**fields: str) -> bytes:
    return b"".join(part(f'name="{key}"', value.encode()) for key, value in fields.items())


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def riff(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a WebP."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def forged_png(width: int, height: int, *more: bytes, pixels: bytes = b"\0" * 1000) -> bytes:
    """Return a PNG whose header claims a size that its data do not have."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    chunks = [header, *more, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def forged_jpeg(width: int, height: int) -> bytes:
    data = jpeg()
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def forged_gif(width: int, height: int) -> bytes:
    data = gif()
    start = first_frame(data) + 5
    return data[:start] + struct.pack("<HH", width, height) + data[start + 4 :]


def first_frame(data: bytes) -> int:
    """Return where the first frame of a GIF begins."""
    return data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))


def forged_webp(width: int, height: int) -> bytes:
    canvas = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + canvas + webp(lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def many_scans(width: int = 40, height: int = 30, scans: int = 200) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again: each is a pass over all pixels."""
    data = encoded(picture(width, height), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans + 1 - data.count(b"\xff\xda")) + data[-2:]


GIF_AND_SCRIPT = b"GIF89a/*" + b"\0" * 20 + b"*/=1;alert(document.cookie);//"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
ZIP = b"PK\x03\x04" + b"\0" * 60


def zipped(data: bytes) -> bytes:
    """Return a PDF that is an archive as well: what follows its table is the comment of that."""
    end = data.index(b"\ntrailer")
    return data[:end] + b"\nPK\x05\x06" + bytes(16) + struct.pack("<H", len(data) - end) + data[end:]


BMP = encoded(picture(), "BMP")
