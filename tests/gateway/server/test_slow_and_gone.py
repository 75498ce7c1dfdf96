"""Clients and services that hang, drip or go away: everyone else is served."""

import socket
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from services.gateway.pool import GLANCE
from tests.gateway.server.running import Gateway, wait_until
from tests.gateway.upstreams import Line, Upstream, echo, response


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
        if line.wait_for_close(4):
            noticed.set()

    posts.behaviour = behave
    with gateway.raw() as connection:
        connection.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(5)
        while begin and not connection.recv(65536).endswith((b"xxx", b"data: 1\n\n", b"data: 1\n\n\r\n")):
            pass
        if farewell == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert noticed.wait(4)  # long before any time-out
    gateway.wait_for_log('"status":499' if not begin else '"status":200')


def test_a_client_that_has_sent_its_next_request_still_gets_both_answers(gateway: Gateway, posts: Upstream) -> None:
    asked = threading.Event()

    def behave(line: Line) -> None:
        while line.read():
            asked.set()
            time.sleep(GLANCE + 0.2)
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


def test_clients_that_went_away_leave_nothing_behind(gateway: Gateway, posts: Upstream) -> None:
    asked = threading.Semaphore(0)

    def behave(line: Line) -> None:
        line.read()
        line.send(EVENTS)
        asked.release()
        line.wait_for_close(10)

    assert gateway.get("/api/posts")[0] == 200
    before = gateway.open_files(), gateway.threads()
    posts.behaviour = behave
    posts.hang_up()  # the connection that is kept still behaves as before
    for _ in range(3):
        with ExitStack() as streams:
            for _ in range(100):
                stream = streams.enter_context(gateway.raw())
                stream.sendall(b"GET /api/posts HTTP/1.1\r\nHost: x\r\n\r\n")
            assert all(asked.acquire(timeout=10) for _ in range(100))
            assert gateway.open_files() >= before[0] + 190
            assert gateway.threads() <= before[1] + 10  # which look up the names of hosts
        wait_until(lambda: gateway.open_files() <= before[0] + 1)
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
        assert gateway.get("/api/posts")[0] == 200
    assert time.monotonic() - started < 2
    for connection in slow:
        connection.close()
