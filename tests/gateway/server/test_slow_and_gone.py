"""Clients and services that hang, drip or go away: everyone else is served."""

import socket
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from services.gateway.middleware import MAX_SPOOLED
from services.gateway.proxy.connection_pool import CLIENT_CHECK
from tests.gateway.conftest import as_user
from tests.gateway.server.running import MIB, USER, Gateway
from tests.gateway.upstreams import Line, Upstream, echo, response
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


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


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000


@pytest.mark.parametrize("begin", [b"", PART, EVENTS], ids=["waiting", "in the middle", "event stream"])
@pytest.mark.parametrize("farewell", ["close", "reset"])
def test_a_service_that_is_silent_learns_at_once_that_the_client_has_gone(
    gateway: Gateway, posts: Upstream, begin: bytes, farewell: str
) -> None:
    asked, noticed = threading.Event(), threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(begin)
        asked.set()
        if line.wait_for_close(8):
            noticed.set()

    posts.behaviour = behave
    with gateway.raw() as connection:
        connection.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(5)
        while begin:
            piece = connection.recv(65536)
            assert piece
            if piece.endswith((b"xxx", b"data: 1\n\n", b"data: 1\n\n\r\n")):
                break
        if farewell == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert noticed.wait(8)  # long before any time-out
    gateway.wait_for_log('"status":499' if not begin else '"status":200')


def test_a_client_that_has_sent_its_next_request_still_gets_both_answers(gateway: Gateway, posts: Upstream) -> None:
    asked = threading.Event()

    def behave(line: Line) -> None:
        while line.read():
            asked.set()
            time.sleep(CLIENT_CHECK + 0.2)
            line.send(response(b"late"))

    posts.behaviour = behave
    one = b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n"
    with gateway.raw() as connection:
        connection.sendall(one)
        assert asked.wait(5)
        connection.sendall(one.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n"))
        answers = b""
        while piece := connection.recv(65536):
            answers += piece
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"late") == 2


def test_a_download_is_read_no_faster_than_the_client_takes_it(gateway: Gateway, posts: Upstream) -> None:
    sent: list[int] = []

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        line.socket.settimeout(1)  # the time for which it is stuck before it counts as such
        try:
            for _ in range(64):
                line.socket.sendall(bytes(MIB))
                sent.append(MIB)
        except TimeoutError:
            sent.append(0)

    posts.behaviour = behave
    before = gateway.memory()
    with gateway.raw() as connection:
        connection.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: 0 in sent)
    assert sum(sent) < 32 * MIB
    assert gateway.memory() - before < 8 * 1024


def test_clients_that_went_away_leave_nothing_behind(gateway: Gateway, posts: Upstream) -> None:
    asked = threading.Semaphore(0)

    def behave(line: Line) -> None:
        line.read()
        line.send(EVENTS)
        asked.release()
        line.wait_for_close(10)

    assert gateway.get("/api/posts")[0] == 200
    before, memory = (gateway.open_files(), gateway.threads()), []
    posts.behaviour = behave
    posts.hang_up()  # the connection that is kept still behaves as before
    for _ in range(4):
        with ExitStack() as streams:
            for _ in range(100):
                stream = streams.enter_context(gateway.raw())
                stream.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
            assert all(asked.acquire(timeout=10) for _ in range(100))
            assert gateway.open_files() >= before[0] + 190
            assert gateway.threads() <= before[1] + 10  # which look up the names of hosts
        wait_until(lambda: gateway.open_files() <= before[0] + 1)
        memory.append(gateway.memory())
    assert memory[-1] - memory[0] < 2 * 1024
    posts.behaviour = echo
    assert gateway.get("/api/posts")[0] == 200


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
        assert gateway.get("/api/files/u/a.png")[0] == 200
    assert time.monotonic() - started < 5
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
        assert gateway.get("/api/posts")[0] == 200
    assert time.monotonic() - started < 5
    for connection in slow:
        connection.close()


def upload_of(who: dict[str, str]) -> bytes:
    return b"POST /api/upload HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n" % who["Authorization"].encode()


UPLOAD = upload_of(USER)
BLOCK = 64 * 1024


def test_the_service_hears_of_an_upload_when_all_of_it_has_come(gateway: Gateway, uploads: Upstream) -> None:
    with ExitStack() as clients:
        slow = [clients.enter_context(gateway.raw()) for _ in range(200)]
        users = [upload_of(as_user()) for _ in range(200 // MAX_SPOOLED + 1)]
        for number, client in enumerate(slow):
            start = users[number // MAX_SPOOLED] + b"Content-Length: %d\r\n\r\n" % (4 * BLOCK)
            client.sendall(start + b"a" * 3 * BLOCK)
        assert gateway.get("/api/uploads", headers=USER)[0] == 200
        assert [request.target for request in uploads.received] == ["/api/uploads"]
        slow[0].sendall(b"b" * BLOCK)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 ")
        assert uploads.received[-1].body == b"a" * 3 * BLOCK + b"b" * BLOCK


def test_of_one_client_so_many_bodies_wait(gateway: Gateway) -> None:
    held = b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (4 * BLOCK)
    with ExitStack() as clients:
        slow = [clients.enter_context(gateway.raw()) for _ in range(MAX_SPOOLED + 2)]
        for client in slow[:MAX_SPOOLED]:
            client.sendall(UPLOAD + held)
            assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        one_more, another = slow[MAX_SPOOLED:]
        one_more.sendall(UPLOAD + held)
        another.sendall(upload_of(as_user()) + held)
        assert another.recv(100).startswith(b"HTTP/1.1 100 ")
        one_more.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one_more.recv(100)
        slow[0].close()
        one_more.settimeout(9)
        assert one_more.recv(100).startswith(b"HTTP/1.1 100 ")


def test_an_upload_in_chunks_gets_a_length(gateway: Gateway, uploads: Upstream) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (3 * BLOCK + 5, b"c" * (3 * BLOCK + 5))
    gateway.talk(UPLOAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body)
    [request] = uploads.received
    assert request.body == b"c" * (3 * BLOCK + 5)
    assert request.header("content-length") == str(3 * BLOCK + 5)


@pytest.mark.parametrize("resumable", [True, False])
def test_the_part_that_came_is_passed_on_where_it_is_of_use(
    gateway: Gateway, uploads: Upstream, resumable: bool
) -> None:
    heard: list[bytes] = []

    def behave(line: Line) -> None:
        while piece := line.socket.recv(65536):
            heard.append(piece)

    uploads.behaviour = behave
    start = UPLOAD.replace(b"POST /api/upload", b"PATCH /api/uploads/tus/1") if resumable else UPLOAD
    with gateway.raw() as client:
        client.sendall(start + b"Content-Length: %d\r\n\r\n" % (9 * BLOCK) + b"d" * 3 * BLOCK)
    if resumable:
        wait_until(lambda: b"".join(heard).count(b"d" * BLOCK) == 3)
        assert b"content-length: %d" % (9 * BLOCK) in b"".join(heard)
    else:
        wait_until(lambda: '"/api/upload"' in gateway.log.read_text())
        assert heard == []


@pytest.mark.parametrize("length", ["length", "chunks"])
def test_an_upload_that_is_too_large_never_reaches_the_service(
    gateway: Gateway, uploads: Upstream, length: str
) -> None:
    size = 13 * 1024 * 1024
    framing = b"Content-Length: %d" % size if length == "length" else b"Transfer-Encoding: chunked"
    start = b"" if length == "length" else b"%x\r\n" % size
    with gateway.raw() as client:
        client.sendall(UPLOAD + framing + b"\r\nConnection: close\r\n\r\n" + start)
        for _ in range(13):
            client.sendall(b"e" * 1024 * 1024)
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert uploads.received == []


def test_nothing_is_asked_of_a_client_that_waits_to_send_too_much(gateway: Gateway, uploads: Upstream) -> None:
    with gateway.raw() as client:
        client.sendall(UPLOAD + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer
    assert uploads.received == []


def test_the_files_of_uploads_are_gone_afterwards(gateway: Gateway, uploads: Upstream) -> None:
    before = gateway.nameless_files()
    for _ in range(3):
        gateway.talk(UPLOAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (3 * BLOCK) + b"f" * 3 * BLOCK)
    wait_until(lambda: gateway.nameless_files() <= before)
