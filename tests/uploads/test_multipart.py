"""A multipart body is cut into the same parts, whatever pieces it comes in."""

import pytest
from werkzeug.sansio.multipart import Data, Field, File

from services.uploads.http.multipart import events, filename_of
from tests.uploads.samples import BOUNDARY, END, part

TRICKY = b"\r\n--frontie\r\n\r\n--\r\n\r\r-frontier--\r\n--frontieR\r\n" + bytes(range(256)) + b"\r\n--front"
BODY = part('name="file"; filename="a.png"', TRICKY, "X-More: --frontier") + part('name="private"', b"true") + END
PARTS = [("file", "a.png", TRICKY), ("private", None, b"true")]


def parts(body: bytes, size: int) -> list[tuple[str, str | None, bytes]]:
    """Return the parts of a body that comes in pieces of a size: name, name of the file and data of each."""
    found: list[tuple[str, str | None, bytes]] = []
    for event in events((body[start : start + size] for start in range(0, len(body), size)), BOUNDARY.encode()):
        if isinstance(event, Field | File):
            found.append((event.name, filename_of(event) if isinstance(event, File) else None, b""))
        elif isinstance(event, Data):
            found[-1] = (*found[-1][:2], found[-1][2] + event.data)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 5, 13, 100, 10_000])
def test_in_pieces_of(size: int) -> None:
    assert parts(BODY, size) == PARTS


LENIENT = {
    "something before": b"Not for machines.\r\n" + BODY,
    "something behind": BODY + b"\r\n\r\nNot for machines.\r\n--frontier",
    "no line end behind": BODY.rstrip(),
    "half a line end": BODY.replace(b"\r\nContent", b"\nContent"),
    "spaces behind a boundary": BODY.replace(b"--frontier\r\nContent", b"--frontier \t\r\nContent"),
    "a name of a header in capitals": BODY.replace(b"Content-Disposition", b"CONTENT-DISPOSITION"),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", LENIENT)
def test_is_understood_with(case: str, size: int) -> None:
    assert parts(LENIENT[case], size) == PARTS


NAMES = {
    'filename="a \\"b\\".png"': 'a "b".png',
    "filename*=UTF-8''a%20%22b%22.png": 'a "b".png',
    'filename="a \\\\ b.png"': "a \\ b.png",
    'filename="a\\b.png"': "a\\b.png",
    'filename="C:\\Users\\a\\x.jpg"': "x.jpg",
    'filename="\\\\server\\share\\x y.jpg"': "x y.jpg",
    'filename="b/a.png"': "b/a.png",
    'filename="دوربین\u200cها.png"': "دوربین\u200cها.png",
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("way", NAMES)
def test_a_name_of_a_file_is_understood(way: str, size: int) -> None:
    assert parts(part(f'name="file"; {way}') + END, size) == [("file", NAMES[way], b"")]


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_head_that_is_no_utf_8_is_windows_1252(size: int) -> None:
    body = part('name="file"; filename="Übersicht – 1.png"').decode().encode("cp1252") + END
    assert parts(body, size) == [("file", "Übersicht – 1.png", b"")]


BROKEN = {
    "no end": BODY.removesuffix(END),
    "half an end": BODY[:-3],
    "another boundary": BODY.replace(b"frontier", b"border"),
    "text behind a boundary": BODY.replace(b"--frontier\r\nContent", b"--frontier x\r\nContent"),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", BROKEN)
def test_is_broken_with(case: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"Invalid|Missing"):
        parts(BROKEN[case], size)
