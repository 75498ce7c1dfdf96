"""What a client of the running gateway gets."""

import http.client
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.gateway.server.running import MIB, USER, Gateway, running_gateway
from tests.gateway.upstreams import Line, Upstream


def test_it_answers_and_keeps_the_connection(gateway: Gateway, posts: Upstream) -> None:
    connection = gateway.connect()
    for _ in range(3):
        connection.request("GET", "/api/posts")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()
    assert len(posts.received) == 3


def test_head_and_304_leave_the_connection_in_step(gateway: Gateway, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        while request := line.read():
            line.send(b"HTTP/1.1 %b\r\nContent-Length: 4\r\n\r\n" % (
                b"200 OK" if request.method == "HEAD" else b"304 Not Modified" if request.header("if-none-match")
                else b"200 OK")
                + (b"" if request.method == "HEAD" or request.header("if-none-match") else b"body"))  # fmt: skip

    posts.behaviour = behave
    one = b"HEAD /api/posts HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b'GET /api/posts HTTP/1.1\r\nHost: x\r\nIf-None-Match: "1"\r\n\r\n'
    three = b"GET /api/posts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = gateway.talk(one + two + three)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"304", b"200"]
    assert answer.endswith(b"\r\n\r\nbody")
    assert answer.count(b"body") == 1


def test_a_large_upload_and_download_pass_in_flat_memory(gateway: Gateway, uploads: Upstream) -> None:
    def behave(line: Line) -> None:
        while request := line.read_head():
            left = int(request.header("content-length") or 0) - len(line.buffered)
            line.buffered = b""
            while left:
                left -= len(line.socket.recv(1 << 18))
            line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            for _ in range(64):
                line.send(bytes(MIB))

    gateway.get("/api/hello")
    before = gateway.memory()
    uploads.behaviour = behave
    connection = gateway.connect()
    connection.request("POST", "/api/upload", bytes(12 * MIB), USER)
    answer = connection.getresponse()
    if answer.status != 200:  # a machine that is busy with other tests may not take the body in time
        answer.read()
        connection.request("POST", "/api/upload", bytes(12 * MIB), USER)
        answer = connection.getresponse()
    size = 0
    while piece := answer.read(1 << 18):
        size += len(piece)
    connection.close()
    assert size == 64 * MIB
    assert gateway.memory() - before < 8 * 1024


def test_an_event_stream_arrives_event_by_event(gateway: Gateway, posts: Upstream) -> None:
    go_on = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        go_on.wait(5)
        line.send(b"data: 2\n\n")

    posts.behaviour = behave
    connection = gateway.connect()
    connection.request("GET", "/api/posts")
    answer = connection.getresponse()
    assert answer.read1() == b"data: 1\n\n"
    go_on.set()
    assert answer.read() == b"data: 2\n\n"
    connection.close()


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
)
def test_a_truncated_answer_never_looks_whole(gateway: Gateway, posts: Upstream, head: bytes) -> None:
    def behave(line: Line) -> None:
        line.read()
        line.send(head + b"186a0\r\n" * (b"chunked" in head) + b"x" * 100_000)

    posts.behaviour = behave
    connection = gateway.connect()
    connection.request("GET", "/api/posts")
    answer = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    connection.close()


def test_a_client_of_http_1_0_sees_a_reset_where_the_answer_breaks_off(gateway: Gateway, posts: Upstream) -> None:
    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        time.sleep(0.1)

    posts.behaviour = behave
    with pytest.raises(ConnectionResetError):
        gateway.talk(b"GET /api/posts HTTP/1.0\r\n\r\n")


def test_it_says_nothing_about_its_software(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.request("GET", "/api/posts")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert "unicorn" not in str(answer.headers).lower()
    assert len(answer.headers.get_all("Date") or []) == 1


def test_the_address_of_the_services_is_not_told(gateway: Gateway, posts: Upstream) -> None:
    posts.behaviour = lambda line: line.send(b"garbage")
    status, body = gateway.get("/api/posts")
    assert status == 502
    assert str(urlsplit(posts.url).port).encode() not in body


PAGE = "Origin: http://localhost:3000"
PREFLIGHT = "OPTIONS /api/posts HTTP/1.1\r\nAccess-Control-Request-Method: GET"
REFUSED_BY_THE_SERVER = {
    "a target that is too long": (f"GET /{'x' * 9000} HTTP/1.1", "414"),
    "a target that is too long, of a page": (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: x\r\n{PAGE}", "414"),
    "headers that are too large": (f"GET / HTTP/1.1\r\nHost: x\r\nA: {'x' * 17_000}", "431"),
    "headers that are too large, of a page": (f"GET / HTTP/1.1\r\nHost: x\r\n{PAGE}\r\nA: {'x' * 17_000}", "431"),
    "too many headers, of a page": ("GET / HTTP/1.1\r\n" + "A: b\r\n" * 100 + PAGE, "431"),
    "no HTTP": ("garbage", "400"),
    "no HTTP, of a page": (f"garbage\r\n{PAGE}", "400"),
    "an unknown method, of a page": (f"PROPFIND / HTTP/1.1\r\n{PAGE}\r\nHost: x", "501"),
    "a preflight without Host": (f"{PREFLIGHT}\r\n{PAGE}", "400"),
    "a preflight of two lengths": (
        f"{PREFLIGHT}\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n{PAGE}",
        "400",
    ),
    "an unknown coding": ("GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\r\nTransfer-Encoding: x", "501"),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_SERVER)
def test_what_the_server_refuses_has_the_headers_of_every_answer(gateway: Gateway, case: str) -> None:
    head, status = REFUSED_BY_THE_SERVER[case]
    answer = gateway.talk(f"{head}\r\n\r\n".encode()).decode()
    assert answer.split()[1] == status
    for header in ("Vary: Origin", "Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff"):
        assert answer.count(header) == 1
    assert ("Access-Control-Allow-Origin: http://localhost:3000" in answer) is ("Origin" in head)
    gateway.wait_for_log(f'"status":{status},')


@pytest.mark.parametrize(
    "request_line, path",
    [
        ("GET http://api.example/api/posts?limit=1 HTTP/1.1", "/api/posts?limit=1"),
        ("GET HTTP://api.example:8000/api/posts HTTP/1.1", "/api/posts"),
        ("GET https://api.example/api/posts HTTP/1.0", "/api/posts"),
    ],
)
def test_the_absolute_form_of_a_target_names_the_host(
    gateway: Gateway, posts: Upstream, request_line: str, path: str
) -> None:
    answer = gateway.talk(f"{request_line}\r\nHost: other.example\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] == b"200"
    received = posts.received[-1]
    assert received.target == path
    assert str(received.header("x-forwarded-host")).partition(":")[0] == "api.example"


def test_a_question_about_the_whole_server_is_answered(gateway: Gateway) -> None:
    answer = gateway.talk(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in answer
    assert gateway.talk(b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_length_with_leading_zeros_is_that_length(gateway: Gateway) -> None:
    body = b'{"a": 1}'
    head = b"POST /api/hello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = gateway.talk(head + b"Content-Length: " + b"0" * 500 + b"8\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_the_server_refuses_counts(services: dict[str, Upstream], tmp_path: Path) -> None:
    with running_gateway(tmp_path, services, RATELIMIT_ENABLED="true") as gateway:
        answers = [gateway.talk(b"garbage\r\n\r\n").decode() for _ in range(101)]
        assert {answer.split()[1] for answer in answers[:90]} == {"400"}
        assert 'RateLimit: "general";r=' in answers[0]
        assert answers[-1].split()[1] == "429"
        assert "Retry-After: " in answers[-1]
