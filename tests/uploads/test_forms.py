"""A multipart body is cut into the same parts, whatever pieces it comes in."""

import pytest

from services.uploads.forms import Part, split
from tests.uploads.samples import BOUNDARY, END, part

TRICKY = b"\r\n--frontie\r\n\r\n--\r\n\r--frontier--\r\n--frontieR\r\n" + bytes(range(256)) + b"\r\n--front"
BODY = part('name="file"; filename="a.png"', TRICKY, "X-More: --frontier") + part('name="private"', b"true") + END
PARTS = [(Part("file", "a.png"), TRICKY), (Part("private", None), b"true")]


def parts(body: bytes, size: int) -> list[tuple[Part, bytes]]:
    """Return the parts of a body that comes in pieces of a size."""
    found: list[tuple[Part, bytes]] = []
    for piece in split((body[start : start + size] for start in range(0, len(body), size)), BOUNDARY.encode()):
        found = (
            [*found, (piece, b"")] if isinstance(piece, Part) else [*found[:-1], (found[-1][0], found[-1][1] + piece)]
        )
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 5, 13, 100, 10_000])
def test_in_pieces_of(size: int) -> None:
    assert parts(BODY, size) == PARTS


LENIENT = {
    "something before": b"Not for machines.\r\n" + BODY,
    "something behind": BODY + b"\r\n\r\nNot for machines.\r\n--frontier",
    "no line end behind": BODY.rstrip(),
    "spaces behind a boundary": BODY.replace(b"--frontier\r\nContent", b"--frontier \t\r\nContent"),
    "a name of a header in capitals": BODY.replace(b"Content-Disposition", b"CONTENT-DISPOSITION"),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", LENIENT)
def test_is_understood_with(case: str, size: int) -> None:
    assert parts(LENIENT[case], size) == PARTS


def test_each_way_to_say_a_name_is_understood() -> None:
    ways = ('filename="a \\"b\\".png"', "filename*=UTF-8''a%20%22b%22.png")
    body = b"".join(part(f'name="file"; {way}') for way in ways) + END
    assert parts(body, 7) == [(Part("file", 'a "b".png'), b"")] * 2


BROKEN = {
    "no end": BODY.removesuffix(END),
    "half an end": BODY[:-3],
    "another boundary": BODY.replace(b"frontier", b"border"),
    "text behind a boundary": BODY.replace(b"--frontier\r\nContent", b"--frontier x\r\nContent"),
    "line ends that are half": BODY.replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", BROKEN)
def test_is_broken_with(case: str, size: int) -> None:
    with pytest.raises(ValueError, match="no"):
        parts(BROKEN[case], size)
