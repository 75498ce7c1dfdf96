import threading
import time
from dataclasses import replace

import pytest

from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy.forward import forward
from shared.network.sockets import ClientGone
from tests.gateway.conftest import Connected
from tests.gateway.forwarding import Pools, PoolTo, Start, a_request, body_of, code_of, read
from tests.gateway.upstreams import Line, echo, hold, response, say


def test_connections_are_kept(restless: None, serve: Start, pools: Pools) -> None:
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


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"\x00"])
def test_a_connection_with_surplus_bytes_is_never_used_again(
    restless: None, serve: Start, pools: Pools, surplus: bytes
) -> None:
    def behave(line: Line) -> None:
        while line.read():
            line.send(response(b"ok") + surplus)

    upstream = serve(behave)
    pool = pools(upstream)
    for number in range(1, 4):
        assert code_of(pool, a_request()) == "BAD_GATEWAY"
        assert upstream.connections == number


def test_a_late_answer_is_not_taken_for_that_to_the_next_request(restless: None, serve: Start, pools: Pools) -> None:
    def behave(line: Line) -> None:
        while request := line.read():
            own = f"X-Request-ID: {request.header('x-request-id')}"
            line.send(response(request.target.encode(), "200 OK", own))
            if request.target == "/twice":
                line.read()
                line.send(response(b"/twice", "200 OK", own))

    upstream = serve(behave)
    pool = pools(upstream)
    assert read(forward(pool, a_request(target="/twice", headers=[("x-request-id", "one")]))) == b"/twice"
    assert read(forward(pool, a_request(target="/next", headers=[("x-request-id", "two")]))) == b"/next"
    assert upstream.connections == 2
    assert read(forward(pool, a_request(target="/twice", headers=[("x-request-id", "three")]))) == b"/twice"
    assert code_of(pool, a_request("POST", headers=[("x-request-id", "four")])) == "BAD_GATEWAY"


def test_whoever_asks_without_an_id_takes_any_answer(serve: Start, pools: Pools) -> None:
    upstream = serve(say(response(b"ok", "200 OK", "X-Request-ID: made-there")))
    assert read(forward(pools(upstream), a_request())) == b"ok"


def test_a_connection_rests_a_moment_before_it_is_looked_at_and_used_again(
    serve: Start, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MIN_IDLE_AGE", 0.2)
    upstream = serve(echo)
    pool = pools(upstream)
    for _ in range(2):
        read(forward(pool, a_request()))
    assert upstream.connections == 2
    time.sleep(0.25)
    for _ in range(2):
        read(forward(pool, a_request()))
    assert upstream.connections == 2


def test_a_connection_that_rested_too_long_is_not_used(
    serve: Start, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = serve(echo)
    pool = pools(upstream)
    monkeypatch.setattr(pool_module, "MAX_IDLE_AGE", -1.0)
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
    pool = pools(serve(hold(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")))
    first, second = forward(pool, a_request()), forward(pool, a_request())
    assert code_of(pool, a_request()) == "SERVICE_UNAVAILABLE"
    first.body.close()  # type: ignore[attr-defined]
    third = forward(pool, a_request())
    for answer in (second, third):
        answer.body.close()  # type: ignore[attr-defined]


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n"
STREAM = hold(EVENTS)


def test_streams_take_no_place_of_other_requests(serve: Start, pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_CONNECTIONS", 1)
    upstream = serve(STREAM)
    pool = pools(upstream)
    bodies = [forward(pool, a_request()).body for _ in range(3)]
    upstream.behaviour = echo
    assert forward(pool, a_request("POST")).status == "200 OK"
    for body in bodies:
        body.close()  # type: ignore[attr-defined]
    assert forward(pool, a_request("POST")).status == "200 OK"


def test_there_are_so_many_streams_and_no_more(pool_to: PoolTo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_STREAMS", 1)
    monkeypatch.setattr(pool_module, "MAX_CONNECTIONS", 1)
    pool = pool_to(STREAM)
    for _ in range(3):
        answer = forward(pool, a_request())
        assert code_of(pool, a_request()) == "SERVICE_UNAVAILABLE"
        answer.body.close()  # type: ignore[attr-defined]


def test_a_stream_ends_when_its_client_leaves(serve: Start, pools: Pools, connected: Connected) -> None:
    closed = threading.Event()

    def behave(line: Line) -> None:
        line.read()
        line.send(EVENTS)
        if line.wait_for_close():
            closed.set()

    body = iter(forward(pools(serve(behave)), replace(a_request(), client=connected.ours)).body)
    assert next(body) == b":\n"
    connected.theirs.close()
    with pytest.raises(ClientGone):
        next(body)
    assert closed.wait(5)


def test_a_client_may_send_its_next_request_while_it_reads_a_stream(
    serve: Start, pools: Pools, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(line: Line) -> None:
        line.read()
        line.send(EVENTS)
        time.sleep(0.2)
        line.send(b":\n")

    monkeypatch.setattr(pool_module, "CLIENT_CHECK", 0.05)
    body = iter(forward(pools(serve(behave)), replace(a_request(), client=connected.ours)).body)
    connected.theirs.send(b"GET /next HTTP/1.1\r\n")
    assert b"".join(body) == b":\n:\n"


def test_streams_end_in_order_when_the_gateway_stops(pool_to: PoolTo) -> None:
    pool = pool_to(STREAM)
    begun = forward(pool, a_request())
    threading.Timer(0.1, pool.end_streams).start()
    assert read(begun) == b":\n"
    assert read(forward(pool, a_request())) == b":\n"
