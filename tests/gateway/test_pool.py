import threading
import time

import pytest

from services.gateway import pool as pool_module
from services.gateway.forward import forward
from tests.gateway.forwarding import Pools, PoolTo, Start, a_request, body_of, code_of, read
from tests.gateway.upstreams import Line, echo, response


def test_connections_are_kept(serve: Start, pools: Pools) -> None:
    upstream = serve(echo)
    pool = pools(upstream)
    for _ in range(5):
        read(forward(pool, a_request("POST", body=body_of(b"x"))))
    assert upstream.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_not_used(serve: Start, pools: Pools) -> None:
    closed = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(response(b"ok"))
        line.socket.close()
        closed.set()

    upstream = serve(behave)
    pool = pools(upstream)
    for number in range(1, 4):
        closed.clear()
        assert read(forward(pool, a_request("POST"))) == b"ok"
        assert closed.wait(5)
        assert upstream.connections == number


def test_surplus_bytes_are_no_answer_to_the_next_request(serve: Start, pools: Pools) -> None:
    sent = threading.Event()

    def behave(line: Line) -> None:
        while line.read():
            line.send(response(b"ok"))
            time.sleep(0.02)
            line.send(response(b"evil"))
            sent.set()

    pool = pools(serve(behave))
    for _ in range(3):
        sent.clear()
        assert read(forward(pool, a_request("POST"))) == b"ok"
        assert sent.wait(5)


def test_a_connection_that_rested_too_long_is_not_used(
    serve: Start, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = serve(echo)
    pool = pools(upstream)
    monkeypatch.setattr(pool_module, "IDLE_AGE", -1.0)
    for _ in range(2):
        read(forward(pool, a_request()))
    assert upstream.connections == 2


@pytest.mark.parametrize("header", ["Connection: close", "Connection: Close, X-A"])
def test_a_connection_that_the_upstream_will_close_is_not_kept(serve: Start, pools: Pools, header: str) -> None:
    def behave(line: Line) -> None:
        while line.read():
            line.send(response(b"ok", "200 OK", header))

    upstream = serve(behave)
    pool = pools(upstream)
    for _ in range(2):
        read(forward(pool, a_request()))
    assert upstream.connections == 2


def test_a_client_that_goes_away_closes_the_upstreams_connection(pool_to: PoolTo) -> None:
    closed: list[bool] = []
    done = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000)
        closed.append(line.wait_for_close())
        done.set()

    answer = forward(pool_to(behave), a_request())
    next(iter(answer.body))
    answer.body.close()  # type: ignore[attr-defined]
    assert done.wait(5)
    assert closed == [True]


def test_the_number_of_connections_is_bounded(serve: Start, pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_CONNECTIONS", 2)

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        line.wait_for_close()

    pool = pools(serve(behave))
    first, second = forward(pool, a_request()), forward(pool, a_request())
    assert code_of(pool, a_request()) == "SERVICE_UNAVAILABLE"
    first.body.close()  # type: ignore[attr-defined]
    third = forward(pool, a_request())
    for answer in (second, third):
        answer.body.close()  # type: ignore[attr-defined]
