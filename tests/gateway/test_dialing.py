import socket
import threading
import time
from ipaddress import ip_address

import pytest

from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.proxy.forward import forward
from shared.network import dialing
from shared.network.name_lookup import NameLookup
from tests.gateway.forwarding import Start, a_request, code_of, read
from tests.gateway.upstreams import echo


def test_the_systems_resolver_is_asked() -> None:
    assert {str(address) for address in NameLookup(4).addresses("localhost", 5)} <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        NameLookup(4).addresses("nothing.invalid", 5)


def test_the_first_address_of_an_upstream_may_be_dead(serve: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = serve(echo)
    monkeypatch.setattr(dialing._upstreams, "addresses", lambda *_: [ip_address("127.0.0.99"), ip_address("127.0.0.1")])
    pool = ConnectionPool("test", upstream.url.replace("127.0.0.1", "posts.internal"))
    assert read(forward(pool, a_request()))
    pool.close()


def test_a_resolver_that_hangs_is_waited_for_no_longer_than_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(10) and [])
    started = time.monotonic()
    assert code_of(ConnectionPool("test", "http://auth.internal:8001"), a_request()) == "GATEWAY_TIMEOUT"
    assert time.monotonic() - started < 5
    answer.set()
