"""Clients and services that hang, drip or go away: everyone else is served."""

import threading
import time

from tests.gateway.server.running import Gateway
from tests.gateway.upstreams import Line, Upstream, response


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
