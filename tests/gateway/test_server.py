"""The gateway under its real server, with the event loop, on a real port."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.gateway.conftest import answer_as_auth, as_user
from tests.gateway.upstreams import Line, Upstream, echo, response

MIB = 1024 * 1024


@dataclass
class Gateway:
    """A running gateway."""

    port: int
    process: subprocess.Popen[bytes]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, data: bytes) -> bytes:
        """Send raw bytes, and return all that comes until the gateway closes."""
        with self.raw() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def memory(self) -> int:
        """Return the resident KiB of the largest process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        sizes = []
        for pid in children:
            status = Path(f"/proc/{pid}/status").read_text()
            sizes += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        return max(sizes)


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    running = {"auth": Upstream(answer_as_auth), "posts": Upstream(echo), "uploads": Upstream(echo)}
    yield running
    for upstream in running.values():
        upstream.close()


@pytest.fixture(scope="module")
def running(services: dict[str, Upstream], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {f"{name.upper()}_URL": upstream.url for name, upstream in services.items()} | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "APP_ENV": "test",
        "DATA_DIR": str(folder),
        "GATEWAY_PORT": str(port),
        "RATELIMIT_ENABLED": "false",
        "CACHE_MIB": "0",
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "services", "gateway"]
        process = subprocess.Popen(command, env=environ, stderr=log, cwd=folder)
    gateway = Gateway(port, process)
    try:
        wait_until_it_answers(gateway)
        yield gateway
    finally:
        process.terminate()
        process.wait(10)


def wait_until_it_answers(gateway: Gateway) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            gateway.raw().close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline or gateway.process.poll() is not None:
                raise
            time.sleep(0.02)


@pytest.fixture
def gateway(running: Gateway, services: dict[str, Upstream]) -> Iterator[Gateway]:
    """The running gateway, before services that have heard nothing yet."""
    for name in ("posts", "uploads"):
        services[name].behaviour = echo
        services[name].received.clear()
    yield running
    for upstream in services.values():
        upstream.hang_up()


@pytest.fixture
def posts(services: dict[str, Upstream]) -> Upstream:
    return services["posts"]


@pytest.fixture
def uploads(services: dict[str, Upstream]) -> Upstream:
    return services["uploads"]


USER = as_user()
TOKEN = USER["Authorization"]


def get(gateway: Gateway, target: str) -> tuple[int, bytes]:
    connection = gateway.connect()
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


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

    get(gateway, "/api/hello")
    before = gateway.memory()
    uploads.behaviour = behave
    connection = gateway.connect()
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


@pytest.mark.parametrize(
    "body", [b"5\r\nhello\r\nzz\r\n", b"5\r\nhel", b"5\r\nhelloX", b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n"]
)
def test_a_body_with_broken_chunks_reaches_no_service(gateway: Gateway, posts: Upstream, body: bytes) -> None:
    head = (
        f"POST /api/posts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: {USER['Authorization']}"
    )
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
        head = f"POST /api/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: {TOKEN}\r\n\r\n"
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
        (b"GET http://127.0.0.1/api/posts HTTP/1.1", b""),
        (b"GET //api/posts HTTP/1.1", b""),
        (b"GET /api/posts/../admin HTTP/1.1", b""),
        (b"GET /api\\posts HTTP/1.1", b""),
        (b"GET /api/posts#x HTTP/1.1", b""),
        (b"GET /api/p\xc3\xb6sts HTTP/1.1", b""),
        (b"OPTIONS * HTTP/1.1", b""),
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


def test_a_client_that_is_still_sending_sees_why_it_is_refused(gateway: Gateway, posts: Upstream) -> None:
    with gateway.raw() as connection:
        head = f"POST /api/posts HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\nAuthorization: {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(30):
            connection.sendall(bytes(100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert posts.received == []


def test_a_client_that_goes_away_closes_the_upstreams_connection(gateway: Gateway, posts: Upstream) -> None:
    closed = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                line.send(b"1\r\nx\r\n")
                time.sleep(0.01)
        except OSError:
            closed.set()

    posts.behaviour = behave
    with gateway.raw() as connection:
        connection.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(10)
    assert closed.wait(5)


def test_a_service_that_hangs_costs_the_others_nothing(gateway: Gateway, posts: Upstream, uploads: Upstream) -> None:
    release = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        release.wait(10)
        line.send(response(b"late"))

    posts.behaviour = behave
    waiting = [gateway.raw() for _ in range(40)]
    for connection in waiting:
        connection.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    started = time.monotonic()
    for _ in range(10):
        assert get(gateway, "/api/files/u/a.png")[0] == 200
    assert time.monotonic() - started < 2
    release.set()
    for connection in waiting:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        connection.close()


def test_silent_and_dripping_clients_cost_the_others_nothing(gateway: Gateway) -> None:
    slow = [gateway.raw() for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(
            [b"", b"GET /api", b"POST /api/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"][number % 3]
        )
    started = time.monotonic()
    for _ in range(10):
        assert get(gateway, "/api/posts")[0] == 200
    assert time.monotonic() - started < 2
    for connection in slow:
        connection.close()


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
    status, body = get(gateway, "/api/posts")
    assert status == 502
    assert str(urlsplit(posts.url).port).encode() not in body
