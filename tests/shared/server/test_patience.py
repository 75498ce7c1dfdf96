"""The clocks against clients that are slow on purpose; the toy service has short ones."""

import time
from contextlib import ExitStack, suppress
from http.client import IncompleteRead
from pathlib import Path
from select import select

import pytest

from shared.server.request_reader import MAX_REST, ReadTimeouts
from tests.shared.server.served import Answer, Served, assert_refused, head, read_answer, read_to_end
from tests.shared.server.toy_service import SHORT

pytestmark = pytest.mark.slow


def test_a_silent_connection_is_closed_without_a_word(server: Served) -> None:
    assert server.exchange(b"") == []


@pytest.mark.parametrize("begin", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_stops_gets_408(server: Served, begin: bytes) -> None:
    [answer] = server.exchange(begin)
    assert_refused(answer, "REQUEST_TIMEOUT")


def test_a_head_that_drips_gets_408_all_the_same(server: Served) -> None:
    assert_refused(drip(server, b"GET / HTTP/1.1\r\n", b"a"), "REQUEST_TIMEOUT")


def test_a_later_head_of_a_connection_has_the_same_time(server: Served) -> None:
    first, second = server.exchange(head("GET / HTTP/1.1", "Host: x") + b"GET / HTTP/1.1\r\nHos")
    assert first.status == 200
    assert_refused(second, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("extra", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_gets_408(server: Served, extra: str) -> None:
    [answer] = server.exchange(head("POST / HTTP/1.1", "Host: x", extra) + b"5\r\n")
    assert_refused(answer, "REQUEST_TIMEOUT")


def test_a_body_that_drips_gets_408_all_the_same(server: Served) -> None:
    answer = drip(server, head("POST / HTTP/1.1", "Host: x", "Content-Length: 1000"), b"a")
    assert_refused(answer, "REQUEST_TIMEOUT")


def test_a_kept_connection_may_be_silent_for_longer(server: Served) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(head("GET / HTTP/1.1", "Host: x"))
            assert read_answer(client).status == 200
            time.sleep(2 * SHORT.head)
        client.sendall(head("GET / HTTP/1.1", "Host: x"))
        assert read_answer(client).status == 200


def test_a_client_that_reads_nothing_is_let_go(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("GET /large HTTP/1.1", "Host: x"))
        time.sleep(2 * SHORT.write)
        client.settimeout(2)
        with pytest.raises((ConnectionError, IncompleteRead)):
            read_answer(client)


REFUSED = head("POST /ignore HTTP/1.1", "Host: x", "Content-Length: 99999")


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HTTP/1.1\r\nA: ", head("GET /ignore HTTP/1.1", "Host: x", "bad"), REFUSED]
)
def test_200_slow_clients_do_not_hold_up_the_others(server: Served, begin: bytes) -> None:
    slow = [server.connect() for _ in range(200)]
    try:
        for client in slow:
            client.sendall(begin)
        started = time.monotonic()
        assert server.get("/").status == 200
        assert time.monotonic() - started < 10 * SHORT.head  # all of them would take 25 times as long
    finally:
        for client in slow:
            client.close()


def test_a_refused_client_that_goes_on_sending_sees_why(server: Served) -> None:
    assert (MAX_REST, ReadTimeouts().linger) == (16 * 1024 * 1024, 5.0)
    with server.connect() as client:
        client.sendall(REFUSED)
        for _ in range(8):
            time.sleep(SHORT.linger / 10)
            client.sendall(b"a")
        assert read_answer(client).status == 401
        assert client.recv(1) == b""


def test_idle_connections_leave_their_places_to_newcomers(tmp_path: Path) -> None:
    server = Served("events", tmp_path, files=600)  # which are places for 200
    with ExitStack() as stack:
        stack.callback(server.stop)
        clients = []
        for _ in range(400):
            clients.append(stack.enter_context(server.connect()))
            clients[-1].sendall(head("GET / HTTP/1.1", "Host: x"))
            assert read_answer(clients[-1]).status == 200
        assert read_to_end(clients[0]) == b""
        clients[-1].sendall(head("GET /again HTTP/1.1", "Host: x"))
        assert read_answer(clients[-1]).json["path"] == "/again"


def drip(server: Served, begin: bytes, piece: bytes) -> Answer:
    """Send a piece again and again, faster than any silence is noticed, until there is an answer."""
    with server.connect(timeout=0.1) as client:
        client.sendall(begin)
        for _ in range(40):
            with suppress(BrokenPipeError):
                client.sendall(piece)
            if select([client], [], [], 0.1)[0]:
                return read_answer(client)
    raise AssertionError("the server waits for ever")
