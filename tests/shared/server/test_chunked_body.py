"""Bodies in chunks: read as gunicorn reads them, but for a bound on what their framing costs."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.http.body import ChunkedReader as GunicornsReader
from gunicorn.http.unreader import IterUnreader

from shared.problems import Problem
from shared.server import head_parser
from shared.server.chunked_body import MAX_CHUNKS, MIN_CHUNK, ChunkedReader

REST = b"GET / HTTP/1.1\r\n"


def pieces(data: bytes, rng: random.Random) -> Iterator[bytes]:
    while data:
        size = rng.choice((1, 2, 3, 10, 100, 8192))
        yield data[:size]
        data = data[size:]


def read(data: bytes, rng: random.Random) -> tuple[bytes, bytes] | None:
    """Return the body and what follows it, None where it is refused."""
    unreader = IterUnreader(pieces(data, rng))
    reader = ChunkedReader(unreader, lambda block: head_parser.check_trailers(block.decode("latin-1")))
    body = b""
    try:
        while piece := reader.read(rng.choice((1, 7, 1000, 65536))):
            body += piece
    except Problem:
        return None
    assert reader.complete
    return body, b"".join(iter(unreader.read, b""))


class Request:
    """What gunicorn's reader asks of a request."""

    trailers: Any = None

    def parse_headers(self, data: bytes, from_trailer: bool) -> None:
        head_parser.check_trailers(data.decode("latin-1"))


def read_by_gunicorn(data: bytes, rng: random.Random) -> tuple[bytes, bytes] | None:
    unreader = IterUnreader(pieces(data, rng))
    reader = GunicornsReader(Request(), unreader)
    body = b""
    try:
        while piece := reader.read(1000):
            body += piece
    except Exception:  # noqa: BLE001 (of many kinds)
        return None
    return body, b"".join(iter(unreader.read, b""))


def chunked(content: bytes, rng: random.Random) -> bytes:
    lines = []
    while content:
        size = rng.choice((1, 5, 16, 300, 70_000))
        extension = rng.choice((b"", b"", b"", b";a", b' ; a=b;c = "d\\"e"', b";=", b'; a="', b" ", b";a\r"))
        lines.append(b"%x%b\r\n%b\r\n" % (len(content[:size]), extension, content[:size]))
        content = content[size:]
    end = rng.choice(
        (b"0\r\n\r\n", b"000\r\nA: b\r\n\r\n", b"0\r\nHost: x\r\n\r\n", b"0\r\nA: b\nC: d\r\n\r\n", b"0\r\n")
    )
    return b"".join(lines) + end


def test_what_gunicorn_takes_is_read_in_the_same_way_however_it_arrives() -> None:
    rng = random.Random(11)
    taken = 0
    for _ in range(3000):
        data = bytearray(chunked(rng.randbytes(rng.choice((0, 1, 20, 500, 100_000))), rng) + REST)
        for _ in range(rng.choice((0, 0, 1, 2))):
            data[rng.randrange(len(data))] = rng.choice(b"\r\n;0fx \x00")
        ours = read(bytes(data), rng)
        assert ours == read_by_gunicorn(bytes(data), rng)
        taken += ours is not None
    assert 300 < taken < 2700


@pytest.mark.parametrize(
    "chunk, count",
    [
        (b"1\r\nx\r\n", 8000),
        (b"2;a=bcd\r\nxy\r\n", 4000),
        (b"0000000000000001\r\nx\r\n", 1200),
        (b'1;a="%b"\r\nx\r\n' % (b"b" * 3000), 7),
        (b"8\r\n12345678\r\n", MAX_CHUNKS * MIN_CHUNK // (MIN_CHUNK - 8) + 1),
    ],
)
def test_framing_that_costs_much_more_than_its_data_is_refused(chunk: bytes, count: int) -> None:
    assert read(chunk * count + b"0\r\n\r\n", random.Random(1)) is None


@pytest.mark.parametrize("size, count", [(1, 4000), (4, MAX_CHUNKS - 1), (40, 80_000), (8192, 200)])
def test_chunks_that_clients_send_are_taken(size: int, count: int) -> None:
    data = b"%x\r\n%b\r\n" % (size, b"x" * size) * count + b"0\r\n\r\n"
    assert read(data, random.Random(1)) == (b"x" * size * count, b"")
