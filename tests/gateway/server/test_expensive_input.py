"""Input that costs more to read than to send: the gateway ends it and goes on with the others."""

import threading
from contextlib import suppress
from pathlib import Path

from shared.server.request_reader import MAX_PIPELINED
from tests.gateway.server.running import Gateway, running_gateway
from tests.gateway.upstreams import Upstream

TINY = b"1\r\n1\r\n"
HELLO = b"POST /api/hello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST /api/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def served_meanwhile(gateway: Gateway, data: bytes, times: int) -> bytes:
    """Send the data so many times, ask for a page meanwhile, and return all that was answered to the data."""
    worker = gateway.worker
    with gateway.raw() as client:

        def send() -> None:
            with suppress(OSError):
                for _ in range(times):
                    client.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        for _ in range(3):
            assert gateway.get("/api/hello")[0] in (200, 429)
        answer = b""
        with suppress(ConnectionError):
            while piece := client.recv(65536):
                answer += piece
        thread.join()
    assert gateway.worker == worker
    return answer


def test_a_refused_body_of_tiny_chunks_is_not_read_to_its_end(gateway: Gateway) -> None:
    with gateway.raw() as client:
        client.sendall(UPLOAD)
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
    answer = served_meanwhile(gateway, UPLOAD + TINY * 10_000, 100)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_an_accepted_body_of_tiny_chunks_is_refused(gateway: Gateway) -> None:
    answer = served_meanwhile(gateway, HELLO + TINY * 200_000, 1)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer
    assert b"BAD_REQUEST" in answer


def test_chunks_as_programs_send_them_are_taken(gateway: Gateway) -> None:
    chunk = b"2000\r\n%b\r\n" % (b"1" * 10 + b" " * 8182)
    answer = gateway.talk(HELLO + chunk + b"2000\r\n%b\r\n" % (b" " * 8192) * 6 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_pipeline_ends_and_leaves_few_lines_in_the_log(services: dict[str, Upstream], tmp_path: Path) -> None:
    with running_gateway(tmp_path, services, RATELIMIT_ENABLED="true") as gateway:
        answer = served_meanwhile(gateway, b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, 50)
        assert MAX_PIPELINED <= answer.count(b"HTTP/1.1 ") <= 2 * MAX_PIPELINED
        assert len(gateway.log.read_bytes().splitlines()) < 3 * MAX_PIPELINED
