"""One request in, one request out, whatever a client sends."""

import threading

import pytest

from tests.gateway.server.running import TOKEN, Gateway
from tests.gateway.upstreams import Line, Upstream


@pytest.mark.parametrize(
    "body", [b"5\r\nhello\r\nzz\r\n", b"5\r\nhel", b"5\r\nhelloX", b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n"]
)
def test_a_body_with_broken_chunks_reaches_no_service(gateway: Gateway, posts: Upstream, body: bytes) -> None:
    head = f"POST /api/posts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: {TOKEN}"
    answer = gateway.talk(head.encode() + b"\r\n\r\n" + body + b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n")
    assert posts.received == []
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_large_body_with_a_broken_chunk_never_looks_whole_to_the_service(gateway: Gateway, uploads: Upstream) -> None:
    closed = threading.Event()

    def behave(line: Line) -> None:
        line.read_head()
        assert line.wait_for_close()
        closed.set()

    uploads.behaviour = behave
    with gateway.raw() as connection:
        line = "PATCH /api/uploads/tus/1 HTTP/1.1\r\nHost: x\r\n"
        head = f"{line}Transfer-Encoding: chunked\r\nAuthorization: {TOKEN}\r\n\r\n"
        connection.sendall(head.encode() + b"30d40\r\n" + b"x" * 200_000 + b"\r\nzz\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert closed.wait(5)


@pytest.mark.parametrize(
    "request_line, headers",
    [
        (b"POST /api/hello HTTP/1.1", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        (b"POST /api/hello HTTP/1.1", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
        (b"POST /api/hello HTTP/1.1", b"Transfer-Encoding: chunked, identity\r\n"),
        (b"POST /api/hello HTTP/1.1", b"Transfer-Encoding:\x0bchunked\r\n"),
        (b"POST /api/hello HTTP/1.1", b"Content-Length : 5\r\n"),
        (b"GET http://a@127.0.0.1/api/posts HTTP/1.1", b""),
        (b"GET //api/posts HTTP/1.1", b""),
        (b"GET /api/posts/../admin HTTP/1.1", b""),
        (b"GET /api\\posts HTTP/1.1", b""),
        (b"GET /api/posts#x HTTP/1.1", b""),
        (b"GET /api/p\xc3\xb6sts HTTP/1.1", b""),
        (b"GET * HTTP/1.1", b""),
        (b"CONNECT 127.0.0.1:80 HTTP/1.1", b""),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_conversation_or_keeps_in_step(
    gateway: Gateway, posts: Upstream, request_line: bytes, headers: bytes
) -> None:
    smuggled = b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = gateway.talk(request_line + b"\r\nHost: x\r\n" + headers + b"\r\n" + b"0\r\n\r\n" + smuggled)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ", b"HTTP/1.1 501 "))
    assert b"application/problem+json" in answer
    assert posts.received == []


def test_an_unread_body_is_no_next_request(gateway: Gateway, posts: Upstream) -> None:
    hidden = b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /api/posts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    last = b"GET /api/categories HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = gateway.talk(head + hidden + last)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert [request.target for request in posts.received] == ["/api/categories"]


def test_a_client_that_waits_for_100_continue_gets_it(gateway: Gateway, posts: Upstream) -> None:
    with gateway.raw() as connection:
        head = f"POST /api/posts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nAuthorization: {TOKEN}\r\n"
        connection.sendall(head.encode() + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"hello")
        assert b"HTTP/1.1 200 OK" in connection.recv(65536)
    assert posts.received[0].body == b"hello"
    assert posts.received[0].header("expect") is None


def test_a_client_that_waits_for_100_continue_is_refused_without_it(gateway: Gateway, posts: Upstream) -> None:
    with gateway.raw() as connection:
        connection.sendall(b"POST /api/posts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert posts.received == []


def test_a_client_that_is_still_sending_sees_why_it_is_refused(gateway: Gateway, posts: Upstream) -> None:
    with gateway.raw() as connection:
        head = f"POST /api/posts HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\nAuthorization: {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(30):
            connection.sendall(bytes(100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert posts.received == []
