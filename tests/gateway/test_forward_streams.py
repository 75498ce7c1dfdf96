import io
import threading
import time
import tracemalloc

import pytest

from services.gateway.proxy import forward as forward_module
from services.gateway.proxy.forward import forward
from services.gateway.proxy.request_body import BLOCK, ClientBody
from shared.event_loop import FEW_PIECES, NAP
from tests.gateway.forwarding import MIB, Pools, PoolTo, Start, a_request, body_of, code_of, read
from tests.gateway.upstreams import Line, response


def test_an_early_answer_stops_the_sending_and_is_passed_on(serve: Start, pools: Pools) -> None:
    body = io.BytesIO(b"x" * (64 * MIB))

    def behave(line: Line) -> None:
        line.read_head()
        line.send(response(b"too large", "413 Content Too Large"))
        line.wait_for_close()

    upstream = serve(behave)
    pool = pools(upstream)
    answer = forward(pool, a_request("POST", body=ClientBody(body, 64 * MIB, 64 * MIB)))
    assert (answer.status, read(answer)) == ("413 Content Too Large", b"too large")
    assert body.tell() < 32 * MIB
    read(forward(pool, a_request("GET")))
    assert upstream.connections == 2  # the first was in the middle of a body and is never used again


def test_an_early_answer_is_seen_while_the_upstream_reads_nothing(serve: Start, pools: Pools) -> None:
    def behave(line: Line) -> None:
        line.read_head()
        time.sleep(0.3)  # by now every buffer is full
        line.send(response(b"no", "403 Forbidden"))
        line.wait_for_close()

    pool = pools(serve(behave))
    body = ClientBody(io.BytesIO(b"x" * (64 * MIB)), 64 * MIB, 64 * MIB)
    answer = forward(pool, a_request("POST", body=body))
    assert (answer.status, read(answer)) == ("403 Forbidden", b"no")


@pytest.mark.parametrize("size", [BLOCK, 16 * MIB])
def test_an_early_answer_survives_the_reset_that_follows_it(pool_to: PoolTo, size: int) -> None:
    def behave(line: Line) -> None:
        line.read_head()
        line.send(response(b"too large", "413 Content Too Large", "Connection: close"))

    body = ClientBody(io.BytesIO(b"x" * size), size, size)
    answer = forward(pool_to(behave), a_request("POST", body=body))
    assert (answer.status, read(answer)) == ("413 Content Too Large", b"too large")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upstream_that_reads_nothing_is_a_timeout(
    pool_to: PoolTo, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(forward_module, "IDLE_TIMEOUT", 0.2)
    request = a_request("POST", body=body_of(b"x" * (32 * MIB), chunked=chunked))
    silence = threading.Event()

    def behave(line: Line) -> None:
        silence.wait(5)

    assert code_of(pool_to(behave), request) == "GATEWAY_TIMEOUT"
    silence.set()


def test_the_interim_answer_in_the_middle_of_a_body_stops_nothing(serve: Start, pools: Pools) -> None:
    def behave(line: Line) -> None:
        request = line.read_head()
        assert request
        line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = len(line.take(int(request.header("content-length") or 0)))
        line.send(response(str(size).encode()))

    pool = pools(serve(behave))
    body = ClientBody(io.BytesIO(b"x" * (4 * MIB)), 4 * MIB, 4 * MIB)
    assert read(forward(pool, a_request("POST", body=body))) == b"4194304"


def test_an_upload_is_read_no_faster_than_the_upstream_takes_it(serve: Start, pools: Pools) -> None:
    go_on = threading.Event()

    def behave(line: Line) -> None:
        request = line.read_head()
        assert request
        go_on.wait(5)
        left = int(request.header("content-length") or 0) - len(line.buffered)
        while left:
            left -= len(line.socket.recv(1 << 20))
        line.send(response(b"ok"))

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 16 * MIB:
                go_on.set()
            return super().read(size)

    source = Counting(b"x" * (32 * MIB))
    pool = pools(serve(behave))
    positions: list[int] = []

    def look_after_a_while() -> None:
        positions.append(source.tell())
        go_on.set()

    timer = threading.Timer(0.4, look_after_a_while)
    timer.start()
    answer = forward(pool, a_request("POST", body=ClientBody(source, 32 * MIB, 32 * MIB)))
    timer.join()
    assert read(answer) == b"ok"
    assert positions[0] < 16 * MIB


def test_a_large_body_passes_in_flat_memory_both_ways(pool_to: PoolTo) -> None:
    size = 48 * MIB

    def behave(line: Line) -> None:
        line.read_head()
        left = size - len(line.buffered)
        buffer = bytearray(1 << 16)
        while left:
            left -= line.socket.recv_into(buffer)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            line.send(bytes(buffer))

    class Zeros(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return bytes(size)

    pool = pool_to(behave)
    tracemalloc.start()
    try:
        answer = forward(pool, a_request("POST", body=ClientBody(Zeros(), size, size), first_byte=20))
        passed = sum(len(piece) for piece in answer.body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert passed == size
    assert peak < 4 * MIB


def test_an_answer_in_tiny_pieces_is_gathered(pool_to: PoolTo) -> None:
    def behave(line: Line) -> None:
        line.read_head()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        until = time.monotonic() + 30 * NAP
        while time.monotonic() < until:
            line.send(b"1\r\nx\r\n")
        line.send(b"0\r\n\r\n")

    answer, began = forward(pool_to(behave), a_request()), time.monotonic()
    pieces = list(answer.body)
    assert len(pieces) <= FEW_PIECES + 2 + 12 * (time.monotonic() - began) / NAP  # some 8 000 without naps
    assert set(b"".join(pieces)) == {ord("x")}
