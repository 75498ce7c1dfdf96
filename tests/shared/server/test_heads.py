"""Heads of requests: whatever is taken here, gunicorn's parser takes too, and reads the same in it."""

import random
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser

from shared.problems import Problem
from shared.server import head_parser
from tests.shared.server.served import head

HEADS = [
    head("GET /api/posts?limit=20 HTTP/1.1", "Host: 127.0.0.1", "User-Agent: x", "Accept: */*", "Cookie: a=b"),
    head("POST / HTTP/1.1", "Host: a:80", "Content-Length: 5", "Content-Type: a/b", "Expect: 100-continue") + b"hello",
    head("POST /x HTTP/1.1", "host:a", "Transfer-Encoding: chunked", "Connection: close") + b"0\r\n\r\n",
    head("GET http://a.example/x?y#z HTTP/1.1", "Host: a", "Cookie: a=b", "X_Y: z", "Cookie: c=d "),
    head("OPTIONS * HTTP/1.1", "Host: [::1]"),
    head("CONNECT a:80 HTTP/1.1", "Host: a:80"),
    head("GET / HTTP/1.0", "Connection: keep-alive") + head("GET /b HTTP/1.0"),
    b"\r\n" + head("GET //a/b?c=d?e#f HTTP/1.1", "Host: a", "A:\tb\t", "B: \xe9"),
]
LINES = [
    "Host: y", "Content-Length: 5", "Content-Length: 0", "Content-Length:", "Content-Length: +5",
    "Content-Length: 5, 5", "Content-Length: \xb2", "Content-Length : 5", "Content_Length: 5",
    f"Content-Length: {'9' * 5000}", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity", "Transfer-Encoding:", "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: \x0bchunked", "Expect: x", "Expect: 100-Continue", "Connection: close",
    "Connection: keep-alive", "Content-Type: c/d", " folded", "\tfolded", ": x", "A", "A:", "SCRIPT_NAME: /x",
    f"A: {'b' * 16379}", f"A: {'b' * 16380}", "\r\n".join(["A: b"] * 60),
]  # fmt: skip
WORDS = [
    "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", "/", "*", "#", "?", "//", "://", "_", "-", "\x0b", "\x1c", "\x7f",
    "\x85", "\xa0", "\xff", "0", "9", "GET", "get", "P#T", "CONNECT", "OPTIONS", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0",
    "HTTP/0.9", "http/1.1", "[", "]", "a://[", "@", "\\", "chunked", "gzip, ", "close", "a" * 8170,
]  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """Return one of the heads with some mistakes in it."""
    text = rng.choice(HEADS).decode("latin-1")
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines, at = text.split("\r\n"), rng.randrange(len(text))
        line = rng.randrange(len(lines))
        changed = [
            text[:at] + rng.choice(WORDS) + text[at + rng.randrange(2) :],
            text[:at] + chr(rng.randrange(256)) + text[at + 1 :],
            text[:at] + text[at + 1 + rng.randrange(3) :],
            "\r\n".join([lines[0], rng.choice(LINES), *lines[1:]]),
            "\r\n".join([*lines[:line], rng.choice(lines), *lines[line:]]),
            "\r\n".join([rng.choice(WORDS).join(lines[0].split(" ", rng.randrange(3))), *lines[1:]]),
            text.replace(rng.choice(text.split() or [text]), rng.choice(WORDS), 1),
        ]
        text = rng.choice(changed) or text
    return text.encode("latin-1")


def read(data: bytes) -> tuple[Any, ...]:
    """Return what the head says, with the length of the body (None for chunks) and what follows; raise Problem."""
    end = head_parser.end_of_head(data)
    line, _, block = data[:end].decode("latin-1").removeprefix("\r\n").partition("\r\n")
    method, target, version = head_parser.parse_line(line)
    fields = head_parser.parse_fields(block)
    head_parser.check_host(fields, version)
    head_parser.expects_continue(fields, version)
    length = head_parser.body_length(fields, version)
    return method, target, *head_parser.path_and_query(target), version, fields, length, data[end + 4 :]


def read_here(data: bytes) -> tuple[Any, ...] | None:
    """Return the same, None for what is refused or not whole."""
    if head_parser.end_of_head(data) < 0:
        return None
    try:
        return read(data)
    except Problem:
        return None


@pytest.fixture(scope="module")
def config() -> Config:
    config = Config()
    config.set("http_parser", "python")
    config.set("limit_request_line", head_parser.MAX_LINE)
    config.set("limit_request_field_size", head_parser.MAX_HEADER)
    config.set("forwarded_allow_ips", "")
    config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})
    return config


def read_by_gunicorn(data: bytes, config: Config) -> tuple[Any, ...] | None:
    parser = RequestParser(config, iter([data]), ("127.0.0.1", 1))
    try:
        request = next(parser)
    except (ParseException, NoMoreData, StopIteration):
        return None
    fields: dict[str, str] = {}
    for name, value in request.headers:
        key = name.replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        fields[key] = f"{fields[key]}{separator}{value}" if key in fields else value
    reader = request.body.reader
    length = None if isinstance(reader, ChunkedReader) else reader.length
    about = (request.method, request.uri, request.path, request.query, request.version)
    return *about, fields, length, parser.unreader.take_buffered()


def test_what_is_taken_gunicorn_reads_in_the_same_way(config: Config) -> None:
    rng = random.Random(1)
    taken = 0
    for data in [*HEADS, *(mutated(rng) for _ in range(20_000))]:
        if found := read_here(data):
            taken += 1
            assert found == read_by_gunicorn(data, config), data
    assert taken > 2_000


def test_what_is_valid_is_taken(config: Config) -> None:
    for data in HEADS:
        assert read_here(data) == read_by_gunicorn(data, config) is not None


def test_a_head_that_comes_in_pieces_is_waited_for() -> None:
    for data in HEADS:
        end = data.index(b"\r\n\r\n")
        assert {head_parser.end_of_head(data[:size]) for size in range(end + 4)} == {-1}
        assert head_parser.end_of_head(data) == end


def test_the_longest_head_is_taken() -> None:
    lines = ["A: " + "b" * 8000] * 4
    lines.append("C: " + "d" * (head_parser.MAX_HEAD - len("Host: x\r\n" + "\r\n".join([*lines, "C: "]))))
    data = b"\r\n" + head(f"GET /{'a' * (head_parser.MAX_LINE - 14)} HTTP/1.1", "Host: x", *lines)
    assert head_parser.end_of_head(data[:-1]) == -1
    assert read_here(data)
    assert not read_here(data.replace(b"d", b"dd", 1))
    assert not read_here(data.replace(b"/a", b"/aa"))


@pytest.mark.parametrize(
    "lines, code",
    [
        (["Transfer-Encoding: gzip, chunked"], "NOT_IMPLEMENTED"),
        (["Transfer-Encoding: identity", "Transfer-Encoding: chunked"], "NOT_IMPLEMENTED"),
        (["Transfer-Encoding: chunked, chunked"], "BAD_REQUEST"),
        (["Content-Length: " + "0" * 1001], "BAD_REQUEST"),
        (["Content-Length: 1", "content-length: 1"], "BAD_REQUEST"),
        (["Expect: 100-continue", "Expect: x"], "EXPECTATION_FAILED"),
        (["Host: a"], "BAD_REQUEST"),
        (["X_Y: z"] * (head_parser.MAX_HEADERS + 1), "HEADERS_TOO_LARGE"),
    ],
)
def test_what_others_may_take_is_refused(lines: list[str], code: str) -> None:
    with pytest.raises(Problem, match=code):
        read(head("POST / HTTP/1.1", "Host: x", *lines))


def test_a_head_that_is_not_waited_for_is_refused() -> None:
    rng = random.Random(2)
    refused = 0
    for data in (mutated(rng) for _ in range(20_000)):
        data = data[: rng.randrange(len(data))]
        if head_parser.end_of_head(data) == len(data):
            refused += 1
            assert read_here(data) is None, data
    assert refused > 1_000


@pytest.mark.parametrize(
    "fields, closes",
    [
        ({}, (True, False)),
        ({"HTTP_CONNECTION": "close"}, (True, True)),
        ({"HTTP_CONNECTION": "Keep-Alive"}, (False, False)),
        ({"HTTP_CONNECTION": "keep-alive,Close"}, (True, True)),
        ({"HTTP_CONNECTION": "upgrade"}, (True, False)),
    ],
)
def test_who_does_not_say_so_keeps_no_connection_of_http_1_0(
    fields: head_parser.Fields, closes: tuple[bool, bool]
) -> None:
    assert tuple(head_parser.is_last("GET", fields, version) for version in ((1, 0), (1, 1))) == closes


def test_nothing_follows_a_tunnel() -> None:
    assert head_parser.is_last("CONNECT", {"HTTP_CONNECTION": "keep-alive"}, (1, 1))
