import io
import threading

import pytest

from services.gateway.proxy.forward import forward
from services.gateway.proxy.request_body import BLOCK, ClientBody
from shared.problems import Problem
from tests.gateway.forwarding import MIB, Pools, PoolTo, Start, a_request, body_of, code_of, read
from tests.gateway.upstreams import Line, echo, response, say


def test_request_line_headers_and_body_arrive_as_they_are(serve: Start, pools: Pools) -> None:
    upstream = serve(echo)
    given = [("accept", "*/*"), ("x-name", "J\xfcrgen")]
    answer = forward(pools(upstream), a_request("PATCH", "/api/a%20b?c=d%26", given, body_of(b"hello")))
    assert answer.status == "200 OK"
    read(answer)
    received = upstream.received[0]
    assert (received.method, received.target, received.body) == ("PATCH", "/api/a%20b?c=d%26", b"hello")
    assert received.headers == [
        ("host", upstream.url.removeprefix("http://")),
        *given,
        ("content-length", "5"),
    ]


@pytest.mark.parametrize("method, length", [("GET", None), ("DELETE", None), ("POST", "0"), ("PUT", "0")])
def test_a_request_without_a_body_says_so(serve: Start, pools: Pools, method: str, length: str | None) -> None:
    upstream = serve(echo)
    read(forward(pools(upstream), a_request(method)))
    assert upstream.received[0].header("content-length") == length
    assert upstream.received[0].header("transfer-encoding") is None


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 2 * MIB])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_whole_with_one_framing(serve: Start, pools: Pools, size: int, chunked: bool) -> None:
    upstream = serve(echo)
    content = bytes(range(256)) * (size // 256 + 1)
    read(forward(pools(upstream), a_request("POST", body=body_of(content[:size], chunked=chunked))))
    received = upstream.received[0]
    assert received.body == content[:size]
    assert (received.header("content-length") is None) == (received.header("transfer-encoding") == "chunked")


@pytest.mark.parametrize("value", ["a\r\nx-forged: 1", "a\nb", "a\rb"])
def test_a_line_break_in_a_header_goes_nowhere(serve: Start, pools: Pools, value: str) -> None:
    upstream = serve(echo)
    assert code_of(pools(upstream), a_request(headers=[("x-a", value)])) == "BAD_REQUEST"
    assert upstream.received == []


def test_a_small_body_is_read_before_the_upstream_is_disturbed(serve: Start) -> None:
    upstream = serve(echo)
    with pytest.raises(Problem) as caught:
        ClientBody(io.BytesIO(b"short"), 10, MIB)
    assert caught.value.code == "BAD_REQUEST"
    assert upstream.connections == 0


class Breaking(io.RawIOBase):
    """A body that breaks after two blocks, as a server's own error or by ending early."""

    def __init__(self, error: Exception | None) -> None:
        self._left = 2 * BLOCK
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        if not self._left and self._error:
            raise self._error
        piece = min(size, self._left)
        self._left -= piece
        return b"x" * piece


@pytest.mark.parametrize(
    "error, code",
    [
        (None, "BAD_REQUEST"),
        (ValueError("bad chunk"), "BAD_REQUEST"),
        (OSError("no more data"), "BAD_REQUEST"),
        (TimeoutError(), "REQUEST_TIMEOUT"),
        (Problem("REQUEST_TIMEOUT"), "REQUEST_TIMEOUT"),
    ],
)
def test_a_broken_body_is_never_passed_on_as_whole(pool_to: PoolTo, error: Exception | None, code: str) -> None:
    closed: list[bool] = []

    def behave(line: Line) -> None:
        line.read_head()
        closed.append(line.wait_for_close())
        done.set()

    done = threading.Event()
    body = ClientBody(Breaking(error), 4 * BLOCK, 2 * MIB)
    assert code_of(pool_to(behave), a_request("POST", body=body)) == code
    assert done.wait(5)
    assert closed == [True]


def test_a_chunked_body_is_counted_while_it_streams(pool_to: PoolTo) -> None:
    body = body_of(b"x" * (3 * MIB), chunked=True, limit=2 * MIB)
    assert code_of(pool_to(lambda line: line.wait_for_close()), a_request("POST", body=body)) == ("PAYLOAD_TOO_LARGE")


def test_status_headers_and_body_come_back(pool_to: PoolTo) -> None:
    pool = pool_to(say(response(b"hello", "201 Whatever", 'ETag: "1"', "Server: x", "X-Word:  a b \t")))
    answer = forward(pool, a_request())
    assert answer.status == "201 Created"
    assert answer.headers == [("Content-Length", "5"), ("ETag", '"1"'), ("X-Word", "a b")]
    assert read(answer) == b"hello"


def test_a_short_chunked_answer_gets_its_length_and_loses_its_trailers(pool_to: PoolTo) -> None:
    chunks = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    pool = pool_to(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    answer = forward(pool, a_request())
    assert (answer.headers, read(answer)) == ([("Content-Length", "5")], b"abcde")


def test_a_body_that_ends_with_the_connection_is_taken(pool_to: PoolTo) -> None:
    pool = pool_to(say(b"HTTP/1.0 200 OK\r\n\r\nab", b"cd"))
    answer = forward(pool, a_request())
    assert (answer.headers, read(answer)) == ([], b"abcd")


@pytest.mark.parametrize(
    "method, answered",
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
    ],
)
def test_answers_without_a_body_end_with_their_head(
    restless: None, serve: Start, pools: Pools, method: str, answered: bytes
) -> None:
    def behave(line: Line) -> None:
        while line.read():
            line.send(answered)

    upstream = serve(behave)
    pool = pools(upstream)
    for _ in range(3):
        assert read(forward(pool, a_request(method))) == b""
    assert upstream.connections == 1


def test_interim_answers_are_passed_over(pool_to: PoolTo) -> None:
    pool = pool_to(
        say(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", response(b"ok"))
    )
    answer = forward(pool, a_request())
    assert (answer.status, answer.headers, read(answer)) == ("200 OK", [("Content-Length", "2")], b"ok")


def test_pieces_are_passed_on_as_they_arrive(pool_to: PoolTo) -> None:
    go_on = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        go_on.wait(5)
        line.send(b"6\r\nsecond\r\n0\r\n\r\n")

    body = iter(forward(pool_to(behave), a_request()).body)
    assert next(body) == b"first"
    go_on.set()
    assert list(body) == [b"second"]
