"""One client that sends what is expensive to read: the others are served meanwhile, and no worker is killed."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shared.event_loop import FEW_PIECES, NAP, SLICE
from shared.problems import Problem
from shared.server.request_reader import MAX_PIPELINED, OVERDUE, ReadTimeouts, Unreader
from shared.server.run import BLOCKED
from tests.shared.server.served import (
    KINDS,
    Served,
    assert_refused,
    head,
    read_answer,
    read_to_end,
    split_answers,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

CHUNKED = "Transfer-Encoding: chunked"
TINY = b"1\r\nx\r\n"
ONE = head("GET /x HTTP/1.1", "Host: x")


@contextmanager
def sending(server: Served, *data: bytes) -> Iterator[threading.Thread]:
    """Send the data one after the other, whatever the server does, while the block runs."""
    with server.connect(30) as client:

        def send() -> None:
            with suppress(OSError):
                for piece in data:
                    client.sendall(piece)

        thread = threading.Thread(target=send)
        thread.start()
        yield thread
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("path", ["/", "/ignore"], ids=["a body that is read", "a body that nobody reads"])
def test_a_body_of_tiny_chunks_ends_the_connection_soon(server: Served, path: str) -> None:
    worker = server.get("/processes").json["worker"]
    with sending(server, head(f"POST {path} HTTP/1.1", "Host: x", CHUNKED), *[TINY * 10_000] * 100) as thread:
        thread.join(20)
        assert not thread.is_alive()  # though nobody reads what is answered
        assert server.get("/processes").json["worker"] == worker


def test_tiny_chunks_are_refused_in_so_many_words(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("POST / HTTP/1.1", "Host: x", CHUNKED) + TINY * 8000)
        assert "chunks" in assert_refused(read_answer(client), "BAD_REQUEST")["detail"]
        assert read_to_end(client) == b""


def test_after_a_refusal_tiny_chunks_are_not_read_to_their_end(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("POST /ignore HTTP/1.1", "Host: x", CHUNKED) + TINY * 8000 + b"0\r\n\r\n" + ONE)
        [answer] = split_answers(read_to_end(client))
    assert answer.status == 401


def test_a_pipeline_is_ended_and_the_others_are_served_between_its_answers(server: Served) -> None:
    before = server.get("/processes").json["worker"]
    lines = len(server.lines())
    with server.connect(20) as client:
        thread = threading.Thread(target=client.sendall, args=(ONE * 50_000,))
        thread.start()
        assert server.get("/processes").json["worker"] == before
        answers = split_answers(read_to_end(client))
        thread.join()
    assert [answer.status for answer in answers] == [200] * len(answers)
    assert MAX_PIPELINED <= len(answers) <= 2 * MAX_PIPELINED
    assert answers[-1].headers["Connection"] == "close"
    assert len(server.lines()) - lines <= len(answers) + 3


def test_others_are_answered_while_a_pipeline_is(tmp_path: Path) -> None:
    server = Served("events", tmp_path)
    try:
        with sending(server, head("GET /turning/0.1 HTTP/1.1", "Host: x") * MAX_PIPELINED):
            for _ in range(3):
                assert server.get("/").status == 200
        assert sum(line.get("path") == "/turning/0.1" for line in server.lines()) < MAX_PIPELINED
    finally:
        server.stop()


def test_a_pipeline_of_20_is_answered_and_the_connection_goes_on(server: Served) -> None:
    with server.connect() as client:
        for _ in range(10):
            client.sendall(ONE * 20)
            received = b""
            while received.count(b"HTTP/1.1 ") < 20 or not received.endswith(b"}\n"):
                received += client.recv(65536)
            assert [answer.status for answer in split_answers(received)] == [200] * 20
            time.sleep(0.02)


def test_one_byte_chunks_every_50_ms_are_taken(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("POST / HTTP/1.1", "Host: x", CHUNKED))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(60):
            client.sendall(TINY)
            time.sleep(0.005)  # faster, as the toy has less patience
        client.sendall(b"0\r\n\r\n")
        assert read_answer(client).json["length"] == 60


def test_bytes_that_drip_are_gathered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        unreader = Unreader(ours, ReadTimeouts())
        unreader.expect_body()

        def drip() -> None:
            until = time.monotonic() + 20 * NAP
            while time.monotonic() < until:
                theirs.send(b"x")
            theirs.close()

        thread, began = threading.Thread(target=drip), time.monotonic()
        thread.start()
        pieces = list(iter(unreader.chunk, b""))
        thread.join()
    assert len(pieces) <= FEW_PIECES + 2 + 3 * (time.monotonic() - began) / NAP


def test_a_deadline_holds_although_bytes_are_ready() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        unreader = Unreader(ours, ReadTimeouts())
        theirs.send(b"x" * 10_000)
        unreader.deadline = time.monotonic() - OVERDUE / 2  # the machine may have been busy
        assert unreader.chunk()
        unreader.deadline = time.monotonic() - 2 * OVERDUE
        with pytest.raises(Problem, match="REQUEST_TIMEOUT"):
            unreader.chunk()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Served]:
    """A server whose master waits two seconds for a sign of life."""
    served = Served("events", tmp_path, TOY_BLOCKED="2")
    yield served
    served.stop()


def test_a_busy_loop_that_turns_is_not_killed(impatient: Served) -> None:
    before = impatient.get("/processes").json["worker"]
    with impatient.connect(30) as client, impatient.connect(30) as second:
        for busy in (client, second):
            busy.sendall(head("GET /turning/5.0 HTTP/1.1", "Host: x"))
        for _ in range(10):
            assert impatient.get("/processes").json["worker"] == before
        assert not any("turning" in line.get("path", "") for line in impatient.lines())
        assert (read_answer(client).body, read_answer(second).body) == (b"turned", b"turned")


def test_a_blocked_loop_is_killed(impatient: Served) -> None:
    before = impatient.get("/processes").json["worker"]
    with impatient.connect(30) as client:
        client.sendall(head("GET /blocked/60.0 HTTP/1.1", "Host: x"))
        assert read_to_end(client) == b""
    assert impatient.get("/processes").json["worker"] != before
    assert (BLOCKED, SLICE) == (20, 0.01)


def test_an_application_may_take_longer_to_load_than_a_loop_may_stand_still(tmp_path: Path) -> None:
    server = Served("events", tmp_path, TOY_BLOCKED="1", TOY_LOADING="4")
    try:
        assert server.get("/").status == 200
        assert "TIMEOUT" not in server.log.read_text()
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/time-out", "/unreachable", "/io"])
def test_an_error_of_the_application_that_looks_like_one_of_the_connection_is_a_500(server: Served, path: str) -> None:
    count = len(server.lines())
    answer = server.get(path)
    assert answer.status == 500
    assert b"secret" not in answer.body
    wait_until(lambda: any("exception" in line and "failed" in line["message"] for line in server.lines()[count:]))


def test_a_fault_in_the_refusal_ends_no_worker(server: Served) -> None:
    before = server.get("/processes").json["worker"]
    for _ in range(3):
        answer = server.ask(head("GET /breaks-the-refusal HTTP/1.1", "Host: x", "bad header"))
        assert_refused(answer, "INTERNAL_ERROR")
        assert b"secret" not in answer.body
    assert server.get("/processes").json["worker"] == before


def test_an_answer_without_content_has_no_length(server: Served) -> None:
    answers = server.exchange(
        head("GET /no-content HTTP/1.1", "Host: x") + head("GET / HTTP/1.1", "Host: x", "Connection: close")
    )
    assert [answer.status for answer in answers] == [204, 200]
    assert "Content-Length" not in answers[0].headers
    assert answers[0].headers["X-Kept"] == "kept"
    assert KINDS == ["threads", "events"]
