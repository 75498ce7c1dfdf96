"""Slow requests of one client leave the threads of a service to the others."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy.connection_pool import PER_CLIENT, ConnectionPool
from services.gateway.proxy.forward import UpstreamRequest, UpstreamResponse, forward
from services.gateway.proxy.request_body import BLOCK
from tests.gateway.conftest import StartGateway, as_user
from tests.gateway.forwarding import Start, a_request, code_of, read
from tests.gateway.upstreams import Line, Upstream, response

LONG = b"x" * (2 * BLOCK)


def answer_at_length(line: Line) -> None:
    while line.read():
        line.send(response(LONG))


def break_off(line: Line) -> None:
    line.read()
    line.reset()


@pytest.fixture
def pool(serve: Start) -> Iterator[ConnectionPool]:
    pool = ConnectionPool("test", serve(answer_at_length).url, bounded=True)
    yield pool
    pool.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "QUEUE_TIMEOUT", 0.05)


def of(who: str) -> UpstreamRequest:
    return replace(a_request(), who=who)


def hold(pool: ConnectionPool, who: str) -> list[UpstreamResponse]:
    """Begin as many requests as a client may have, and read no answer."""
    return [forward(pool, of(who)) for _ in range(PER_CLIENT)]


def let_go(answers: list[UpstreamResponse]) -> None:
    for answer in answers:
        answer.body.close()  # type: ignore[attr-defined]


def test_a_client_waits_for_its_own_slow_requests_and_others_do_not(pool: ConnectionPool) -> None:
    slow = hold(pool, "ann")
    got: list[bytes] = []
    waiting = threading.Thread(target=lambda: got.append(read(forward(pool, of("ann")))))
    waiting.start()
    assert read(forward(pool, of("bob"))) == LONG
    assert got == []
    let_go(slow[:1])
    waiting.join(5)
    assert got == [LONG]
    let_go(slow[1:])


def test_who_waits_too_long_is_refused(impatient: None, pool: ConnectionPool) -> None:
    slow = hold(pool, "ann")
    for _ in range(2):
        assert code_of(pool, of("ann")) == "RATE_LIMITED"
    let_go(slow)
    assert read(forward(pool, of("ann"))) == LONG


def test_a_request_that_fails_keeps_no_place(impatient: None, serve: Start) -> None:
    pool = ConnectionPool("test", serve(break_off).url, bounded=True)
    gone = ConnectionPool("gone", "http://127.0.0.1:1", bounded=True)
    for _ in range(PER_CLIENT + 1):
        assert code_of(pool, of("ann")) == "BAD_GATEWAY"
        assert code_of(gone, of("ann")) == "SERVICE_UNAVAILABLE"


def test_the_gateway_shares_the_service_that_streams(
    impatient: None, start_gateway: StartGateway, services: dict[str, Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uploads", "posts"):
        monkeypatch.setattr(services[name], "behaviour", answer_at_length)
    client = start_gateway()

    def begin(target: str, headers: dict[str, str] | None = None) -> str:
        started: list[str] = []
        environ = client.environ("GET", target, headers or {}, None)
        open_answers.append(client.app(environ, lambda status, *_: started.append(status)))
        return started[0][:3]

    open_answers: list[object] = []
    assert [begin("/api/files/by-id/x") for _ in range(PER_CLIENT + 1)] == ["200"] * PER_CLIENT + ["429"]
    assert begin("/api/files/by-id/x", as_user()) == "200"
    client.address = "192.0.2.2"
    assert begin("/api/files/by-id/x") == "200"
    assert {begin("/api/posts?q=x") for _ in range(PER_CLIENT + 1)} == {"200"}
    let_go([UpstreamResponse("", [], body) for body in open_answers if hasattr(body, "close")])  # type: ignore[arg-type]
