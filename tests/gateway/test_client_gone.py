"""A client that does not wait any more ends its request at the service, and nothing else."""

import re
import socket
import threading
from dataclasses import replace

import pytest

from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy.circuit_breaker import THRESHOLD, CircuitBreaker
from services.gateway.proxy.forward import forward
from shared.network.sockets import ClientGone
from tests.gateway.conftest import Connected, StartGateway
from tests.gateway.forwarding import PoolTo, a_request
from tests.gateway.test_telemetry import told
from tests.gateway.upstreams import Line, Upstream, hold, response
from tests.gateway.wsgi_client import WsgiClient


@pytest.fixture
def gone(connected: Connected) -> socket.socket:
    """Return our side of a connection that its client has closed."""
    connected.theirs.close()
    return connected.ours


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CLIENT_CHECK", 0.05)


def ask(client: WsgiClient, target: str, connection: socket.socket) -> bytes:
    environ = client.environ("GET", target, {}, None) | {"gunicorn.socket": connection}
    return b"".join(client.app(environ, lambda *_: None))


def test_it_is_no_failure_of_the_service(pool_to: PoolTo, gone: socket.socket) -> None:
    pool = pool_to(hold())
    breaker = CircuitBreaker("test")
    for _ in range(2 * THRESHOLD):
        with pytest.raises(ClientGone):
            forward(pool, replace(a_request(), client=gone), breaker)
    assert breaker.state == "closed"


def test_it_is_no_error_and_counted_by_itself(
    start_gateway: StartGateway, uploads: Upstream, gone: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    uploads.behaviour = hold()
    route = "/api/files/by-id/{id}"
    sample = f'gateway_upstream_duration_seconds_count{{outcome="CLIENT_GONE",route="{route}",upstream="uploads"}}'
    lost = f'http_request_duration_seconds_count{{method="GET",route="{route}",status="499"}}'
    before = told(sample), told(lost)
    with pytest.raises(ClientGone):
        ask(start_gateway(), "/api/files/by-id/x", gone)
    assert (told(sample), told(lost)) == (before[0] + 1, before[1] + 1)
    assert '"status":499' in (logged := capsys.readouterr().err)
    assert not re.search('"level":"(warning|error)"', logged)


def test_what_others_may_wait_for_is_fetched_all_the_same(
    client: WsgiClient, posts: Upstream, gone: socket.socket
) -> None:
    go_on = threading.Event()

    def behave(line: Line) -> None:
        while line.read():
            go_on.wait(0.3)
            line.send(response(b"it", "200 OK", "Cache-Control: public, s-maxage=60"))

    posts.behaviour = behave
    assert ask(client, "/api/posts", gone) == b"it"
    assert client.get("/api/posts").header("X-Cache") == "HIT"
