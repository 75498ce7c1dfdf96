"""Requests to expensive routes wait without a thread, in the turn of their clients, and not for ever."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from shared.concurrency import Bulkhead
from shared.server.admission import Admission, WaitingRequest, expensive
from tests.shared.server.served import Served, assert_refused, read_answer
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served("threads", tmp_path_factory.mktemp("admission"))
    yield served
    served.stop()


@pytest.fixture
def server(served: Served) -> Iterator[Served]:
    served.ask(b"DELETE /gate HTTP/1.1\r\nHost: x\r\n\r\n")
    yield served
    served.ask(b"POST /gate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    wait_until(lambda: under_way(served) == [])


def work(server: Served, address: str) -> socket.socket:
    client = server.connect(timeout=30)
    head = f"POST /expensive/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\nContent-Length: 0\r\n\r\n"
    client.sendall(head.encode())
    return client


def under_way(server: Served) -> Any:
    return server.get("/gate").json["underWay"]


def answers(clients: list[socket.socket]) -> list[int]:
    """Return the statuses of the clients' answers."""
    statuses = []
    for client in clients:
        with client:
            statuses.append(read_answer(client).status)
    return statuses


def open_gate(server: Served) -> None:
    server.ask(b"POST /gate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")


def test_other_requests_are_answered_while_more_wait_than_there_are_threads(server: Served) -> None:
    clients = [work(server, f"192.0.2.{number}") for number in range(1, 41)]
    wait_until(lambda: len(under_way(server)) == 3)
    assert server.get("/").status == 200
    assert len(under_way(server)) == 3
    open_gate(server)
    assert answers(clients) == [200] * 40


def test_an_address_has_two_places_and_ipv6_counts_by_its_customer(server: Served) -> None:
    clients = [work(server, f"2001:db8::{number}") for number in range(1, 6)]
    wait_until(lambda: len(under_way(server)) == 2)
    clients.append(work(server, "2001:db8:0:1::1"))
    wait_until(lambda: len(under_way(server)) == 3)
    assert under_way(server) == ["2001:db8:0:1::1", "2001:db8::1", "2001:db8::2"]
    open_gate(server)
    assert answers(clients) == [200] * 6


def test_a_request_that_waited_too_long_is_refused_and_told_when_to_come_back(server: Served) -> None:
    clients = [work(server, f"192.0.2.{number}") for number in range(1, 6)]
    for client in clients[3:]:
        with client:
            refused = read_answer(client)
        body = assert_refused(refused, "SERVICE_UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) == body["retryAfter"] >= 1
        assert body["instance"] == "/expensive/x"
    open_gate(server)
    assert answers(clients[:3]) == [200] * 3


def test_a_connection_goes_on_after_an_expensive_request(server: Served) -> None:
    open_gate(server)
    with work(server, "192.0.2.1") as client:
        assert read_answer(client).status == 200
        for _ in range(3):
            head = b"POST /expensive/y HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\n\r\n"
            client.sendall(head + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [read_answer(client).status, server.get("/").status] == [200, 200]


def make(**options: Any) -> Admission:
    app = Flask("toy")
    app.add_url_rule("/dear", "dear", expensive(lambda: ""), methods=["POST"])
    app.add_url_rule("/dear/<id>/x.y", "with_id", expensive(lambda id: ""), methods=["PUT", "DELETE"])
    app.add_url_rule("/cheap", "cheap", lambda: "", methods=["POST"])
    return Admission(app, Bulkhead(1, detail="", **options))


@pytest.mark.parametrize(
    "line, is_expensive",
    [
        ("POST /dear HTTP/1.1", True),
        ("POST /dear?a=b HTTP/1.1", True),
        ("PUT /dear/01/x.y HTTP/1.1", True),
        ("DELETE /dear/%C3%BC/x.y HTTP/1.1", True),
        ("OPTIONS /dear HTTP/1.1", False),
        ("GET /dear HTTP/1.1", False),
        ("POST /dear/ HTTP/1.1", False),
        ("POST /dearer HTTP/1.1", False),
        ("PUT /dear/1/2/x.y HTTP/1.1", False),
        ("PUT /dear/01/xzy HTTP/1.1", False),
        ("POST /cheap HTTP/1.1", False),
    ],
)
def test_a_route_is_recognised_by_method_and_path(line: str, is_expensive: bool) -> None:
    assert make(patience=1).concerns(line.encode() + b"\r\n\r\n") is is_expensive


def test_a_refusal_at_once_starts_the_request_too() -> None:
    started: list[None] = []
    admission = make(patience=0)
    turns = [admission.enter(b"", ("192.0.2.1", 1), lambda: started.append(None)) for _ in range(2)]
    assert len(started) == 2
    assert [turn.refusal is None for turn in turns] == [True, False]
    for turn in turns:
        admission.leave(turn)
    assert admission.enter(b"", "", lambda: None).refusal is None


def test_a_place_granted_late_is_kept() -> None:
    admission, order = make(patience=0.001), list[str]()

    def enter(name: str) -> WaitingRequest:
        head = f"POST /dear HTTP/1.1\r\nx-forwarded-for: 192.0.2.1\r\nX-Forwarded-For:192.0.2.{name}\r\n\r\n".encode()
        return admission.enter(head, ("127.0.0.1", 1), lambda: order.append(name))

    first, second, third = enter("1"), enter("2"), enter("3")
    assert [turn.client for turn in (first, second)] == ["192.0.2.1", "192.0.2.2"]
    admission.leave(first)
    while not third.refusal:
        admission.refuse_late()
    assert (second.refusal, order) == (None, ["1", "2", "3"])
