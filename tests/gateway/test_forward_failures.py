import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy import forward as forward_module
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.proxy.forward import forward
from services.gateway.proxy.request_body import BLOCK
from shared.problems import Problem
from tests.gateway.forwarding import Pools, PoolTo, Start, a_request, body_of, code_of, read
from tests.gateway.upstreams import Behaviour, Line, echo, hold, response, say


@pytest.mark.parametrize(
    "answered",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlong",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=lambda answered: answered[:60],
)
def test_an_answer_that_is_short_long_or_garbled_is_a_bad_gateway(pool_to: PoolTo, answered: bytes) -> None:
    assert code_of(pool_to(say(answered)), a_request()) == "BAD_GATEWAY"


def test_a_head_without_end_is_not_collected_for_ever(pool_to: PoolTo) -> None:
    endless = hold(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000)
    assert code_of(pool_to(endless), a_request()) == "BAD_GATEWAY"


@pytest.mark.parametrize("endless", [b"a: b\r\n" * 20_000, (b"1;" + b"a" * 7000 + b"\r\nx\r\n") * 20])
def test_framing_without_end_is_not_waited_for(pool_to: PoolTo, endless: bytes) -> None:
    sent: list[int] = []

    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0\r\n" * endless.startswith(b"a"))
        with suppress(OSError):
            for _ in range(400):
                line.send(endless)
                sent.append(len(endless))

    with pytest.raises(ConnectionResetError):
        read(forward(pool_to(behave), a_request()))
    assert sum(sent) < 20_000_000  # what fits in the buffers of two sockets; all would be twice as much


def test_a_body_after_an_answer_to_head_is_a_bad_gateway(pool_to: PoolTo) -> None:
    assert code_of(pool_to(say(response(b"body"))), a_request("HEAD")) == "BAD_GATEWAY"


@pytest.mark.parametrize(
    "head, tail",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", b"xyz"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n", b"\r\n5\r\nab"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n", b"\r\nzz\r\n"),
    ],
)
def test_a_stream_that_breaks_off_cuts_the_client(pool_to: PoolTo, head: bytes, tail: bytes) -> None:
    cut: list[bool] = []
    answer = forward(pool_to(say(head, b"x" * 100_000, tail)), a_request(cut=lambda: cut.append(True)))
    with pytest.raises(ConnectionResetError):
        read(answer)
    assert cut == [True]


def test_a_reset_in_the_middle_cuts_the_client_even_without_a_length(pool_to: PoolTo) -> None:
    def behave(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\n\r\nstart")
        go_on.wait(5)
        line.reset()

    go_on = threading.Event()
    body = iter(forward(pool_to(behave), a_request()).body)
    assert next(body) == b"start"
    go_on.set()
    with pytest.raises(ConnectionResetError):
        next(body)


def test_a_refused_connection_is_503_with_retry_after(serve: Start, pools: Pools) -> None:
    upstream = serve(echo)
    pool = pools(upstream)
    upstream.stop_listening()
    with pytest.raises(Problem) as caught:
        forward(pool, a_request())
    assert caught.value.code == "SERVICE_UNAVAILABLE"
    assert caught.value.members["retryAfter"] == 1


def test_an_upstream_that_takes_no_connections_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CONNECT_TIMEOUT", 0.1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        assert code_of(ConnectionPool("full", f"http://127.0.0.1:{address[1]}"), a_request("POST")) == "GATEWAY_TIMEOUT"
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"short"),
    ],
)
def test_an_upstream_that_hangs_is_a_timeout(serve: Start, pools: Pools, pieces: tuple[bytes, ...]) -> None:
    upstream = serve(hold(*pieces))
    started = time.monotonic()
    assert code_of(pools(upstream), a_request(first_byte=0.2)) == "GATEWAY_TIMEOUT"
    assert time.monotonic() - started < 4
    assert upstream.connections == 1  # never tried again after a time-out


def test_an_upstream_that_drips_its_head_is_a_timeout(pool_to: PoolTo) -> None:
    def behave(line: Line) -> None:
        line.read()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
            line.send(bytes([byte]))
            time.sleep(0.03)

    assert code_of(pool_to(behave), a_request(first_byte=0.3)) == "GATEWAY_TIMEOUT"


def test_a_stream_that_falls_silent_is_cut(pool_to: PoolTo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "IDLE_TIMEOUT", 0.1)
    begun = hold(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    body = iter(forward(pool_to(begun), a_request()).body)
    assert next(body) == b"first"
    started = time.monotonic()
    with pytest.raises(ConnectionResetError):
        next(body)
    assert time.monotonic() - started < 4


def test_an_event_stream_may_be_silent(pool_to: PoolTo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "IDLE_TIMEOUT", 0.05)

    def behave(line: Line) -> None:
        line.read()
        line.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n"
        )
        time.sleep(0.2)
        line.send(b"3\r\n:\n\n\r\n0\r\n\r\n")

    assert read(forward(pool_to(behave), a_request())) == b":\n:\n\n"


def failing_first(failure: Callable[[Line], None]) -> Behaviour:
    """Fail on the first connection and answer well on later ones."""

    def behave(line: Line) -> None:
        if line.upstream.connections == 1:
            if line.read():
                failure(line)
        else:
            echo(line)

    return behave


@pytest.mark.parametrize("failure", [Line.reset, lambda line: line.socket.close()], ids=["reset", "closed"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_is_sent_once_more(
    serve: Start, pools: Pools, method: str, failure: Callable[[Line], None]
) -> None:
    upstream = serve(failing_first(failure))
    assert forward(pools(upstream), a_request(method)).status == "200 OK"
    assert [request.method for request in upstream.received] == [method, method]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_another_request_is_not(serve: Start, pools: Pools, method: str) -> None:
    upstream = serve(failing_first(Line.reset))
    assert code_of(pools(upstream), a_request(method)) == "BAD_GATEWAY"
    assert len(upstream.received) == 1


def test_it_is_sent_on_a_new_connection_however_many_are_kept(serve: Start, pools: Pools) -> None:
    both = threading.Barrier(2, timeout=30)

    def behave(line: Line) -> None:
        if line.read():
            if line.upstream.connections <= 2:
                both.wait(5)
            line.send(response(b"ok"))
            line.read()  # and no answer to that

    upstream = serve(behave)
    pool = pools(upstream)
    threads = [threading.Thread(target=forward, args=(pool, a_request())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(forward(pool, a_request())) == b"ok"
    assert upstream.connections == 3


def test_a_body_that_is_held_is_sent_again_and_one_that_streamed_is_not(serve: Start, pools: Pools) -> None:
    upstream = serve(failing_first(Line.reset))
    assert forward(pools(upstream), a_request("PUT", body=body_of(b"held"))).status == "200 OK"
    assert [request.body for request in upstream.received] == [b"held", b"held"]
    upstream = serve(failing_first(Line.reset))
    assert code_of(pools(upstream), a_request("PUT", body=body_of(b"x" * (BLOCK + 1)))) == "BAD_GATEWAY"
    assert len(upstream.received) == 1


def test_after_the_first_byte_nothing_is_sent_again(serve: Start, pools: Pools) -> None:
    upstream = serve(failing_first(lambda line: line.send(b"HTTP/1.1 2")))
    assert code_of(pools(upstream), a_request()) == "BAD_GATEWAY"
    assert len(upstream.received) == 1


def fail_always(line: Line) -> None:
    line.read()
    line.reset()


def test_a_second_failure_is_the_answer(serve: Start, pools: Pools) -> None:
    upstream = serve(fail_always)
    assert code_of(pools(upstream), a_request()) == "BAD_GATEWAY"
    assert len(upstream.received) == 2
