"""How the server stops, and what happens when a part of it is killed; each test has a server of its own."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.server.run import GRACE
from tests.shared.server.served import KINDS, Served, head, read_answer
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    served = Served(request.param, tmp_path)
    yield served
    served.stop(signal.SIGKILL)


def test_idle_connections_do_not_hold_up_a_stop(own: Served) -> None:
    with own.connect() as idle, own.connect():
        idle.sendall(head("GET / HTTP/1.1", "Host: x"))
        read_answer(idle)
        assert own.stop() < GRACE
    assert own.process.returncode == 0
    assert "toy: stopped" in own.log.read_text()


def test_a_request_under_way_is_finished(own: Served) -> None:
    with own.connect() as client:
        client.sendall(head("GET /sleep/2.0 HTTP/1.1", "Host: x"))
        time.sleep(0.3)
        assert 0.4 < own.stop() < GRACE
        assert read_answer(client).body == b"slept"


def test_a_request_that_arrives_on_a_kept_connection_at_the_stop_is_answered(own: Served) -> None:
    with own.connect() as client:
        client.sendall(head("GET / HTTP/1.1", "Host: x"))
        read_answer(client)
        client.sendall(head("GET /last HTTP/1.1", "Host: x"))
        own.process.send_signal(signal.SIGTERM)
        assert read_answer(client).json["path"] == "/last"


def test_whoever_has_just_connected_at_the_stop_is_answered(own: Served) -> None:
    with own.connect() as client:
        time.sleep(0.1)
        own.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        client.sendall(head("GET /first HTTP/1.1", "Host: x"))
        assert read_answer(client).json["path"] == "/first"


def test_whoever_connects_while_it_stops_is_answered_or_waits_for_the_next_one(own: Served) -> None:
    clients = []
    for number in range(150):
        clients.append(own.connect())
        clients[-1].sendall(head("GET / HTTP/1.1", "Host: x", "Connection: close"))
        if number == 100:
            own.process.send_signal(signal.SIGTERM)
    own.process.wait(30)
    answers = [answered(client) for client in clients]
    assert set(answers) - {b"nothing yet"} == {b"HTTP/1.1 200"}


def answered(client: socket.socket) -> bytes:
    """Return the beginning of what has come; fail when the connection was reset."""
    client.setblocking(False)
    with client:
        try:
            return client.recv(12)
        except BlockingIOError:
            return b"nothing yet"


def test_an_answer_without_end_is_told_to_end(own: Served) -> None:
    with own.connect() as client:
        client.sendall(head("GET /endless HTTP/1.1", "Host: x"))
        time.sleep(0.3)
        assert own.stop() < GRACE
        assert read_answer(client).body == b"begunended"


def test_ctrl_c_reaches_master_and_worker_and_still_finishes_the_request(own: Served) -> None:
    worker = own.get("/processes").json["worker"]
    with own.connect() as client:
        client.sendall(head("GET /sleep/0.8 HTTP/1.1", "Host: x"))
        time.sleep(0.3)
        os.kill(worker, signal.SIGINT)
        own.stop(signal.SIGINT)
        assert read_answer(client).body == b"slept"
    assert [line["message"] for line in own.lines() if line["level"] != "info"] == ["a part did not stop"]


def test_a_killed_worker_is_replaced_and_nobody_is_refused(own: Served) -> None:
    worker = own.get("/processes").json["worker"]
    os.kill(worker, signal.SIGKILL)
    assert own.get("/processes").json["worker"] != worker


def test_the_worker_of_a_killed_master_ends(own: Served) -> None:
    worker = own.get("/processes").json["worker"]
    own.process.kill()
    wait_until(lambda: not Path(f"/proc/{worker}").exists() or zombie(worker))


def zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.fixture
def draining(tmp_path: Path) -> Iterator[Served]:
    """A server with an event loop that has a second at a stop."""
    served = Served("events", tmp_path, TOY_GRACE="1")
    yield served
    served.stop(signal.SIGKILL)


def test_a_replaced_worker_finishes_what_it_has_begun(draining: Served) -> None:
    old = draining.get("/processes").json["worker"]
    with draining.connect(15) as slow, draining.connect() as idle, draining.connect() as endless:
        idle.sendall(head("GET / HTTP/1.1", "Host: x"))
        read_answer(idle)
        endless.sendall(head("GET /endless HTTP/1.1", "Host: x"))
        slow.sendall(head("GET /sleep/6.0 HTTP/1.1", "Host: x"))
        time.sleep(0.3)
        draining.process.send_signal(signal.SIGHUP)
        assert read_answer(endless).body == b"begunended"
        assert idle.recv(1) == b""
        wait_until(lambda: draining.get("/processes").json["worker"] != old)
        assert read_answer(slow).body == b"slept"
    wait_until(lambda: not Path(f"/proc/{old}").exists() or zombie(old))


def test_what_is_cut_off_at_a_stop_is_told_to_come_back(draining: Served) -> None:
    with draining.connect(15) as slow, draining.connect(15) as begun:
        slow.sendall(head("GET /sleep/20.0 HTTP/1.1", "Host: x"))
        begun.sendall(head("POST / HTTP/1.1", "Host: x", "Content-Length: 5") + b"abc")
        time.sleep(0.2)
        begun.sendall(b"d")
        draining.process.send_signal(signal.SIGTERM)
        answer = read_answer(slow)
        assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "SERVICE_UNAVAILABLE", "5")
    draining.process.wait(10)


def test_a_stop_ends_a_drain(draining: Served) -> None:
    with draining.connect(15) as slow:
        slow.sendall(head("GET /sleep/20.0 HTTP/1.1", "Host: x"))
        time.sleep(0.3)
        draining.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        draining.process.send_signal(signal.SIGTERM)
        assert read_answer(slow).status == 503
    draining.process.wait(10)
