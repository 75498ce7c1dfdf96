"""A name server that never answers, before a gateway under its event loop."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.conftest import as_user
from tests.gateway.server.running import USER, Gateway, running_gateway
from tests.gateway.upstreams import Upstream

pytestmark = pytest.mark.slow

# Python reads this at its start, so that gevent finds the resolver changed already.
SILENT_RESOLVER = """
import _socket, time
real, sleep = _socket.getaddrinfo, time.sleep
def getaddrinfo(host, *args, **kwargs):
    if str(host).startswith("silent"):
        sleep(25)
    if str(host) in ("127.0.0.1", "::1"):
        print("looked up", host, file=__import__("sys").stderr, flush=True)
    return real(host, *args, **kwargs)
_socket.getaddrinfo = getaddrinfo
"""
HOSTS = [f"silent{number}.example.org" for number in range(12)]


@pytest.fixture(scope="module")
def gateway(services: dict[str, Upstream], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("silent")
    (folder / "sitecustomize.py").write_text(SILENT_RESOLVER)
    path = f"{folder}:{Path(__file__).parents[3]}"
    upstreams = {name: service for name, service in services.items() if name != "messages"}
    changed = {"MESSAGES_URL": "http://silent.internal:8004", "PROXY_ALLOWED_HOSTS": ",".join(HOSTS)}
    with running_gateway(folder, upstreams, PYTHONPATH=path, **changed) as running:
        yield running


def test_a_silent_resolver_costs_its_own_requests_a_504_and_nobody_else_anything(gateway: Gateway) -> None:
    def ask(number: int) -> tuple[int, float]:
        begin = time.monotonic()
        status, _ = gateway.get(f"/api/proxy/{HOSTS[number % 2]}/x", headers=(USER, as_user())[number % 2])
        return status, time.monotonic() - begin

    with ThreadPoolExecutor(40) as clients:
        silent = [clients.submit(ask, number) for number in range(16)]
        upstream = [clients.submit(gateway.get, "/api/notifications", headers=USER) for _ in range(8)]
        assert gateway.get("/api/health")[0] in (200, 503)
        assert gateway.get("/api/auth/me", headers=USER)[0] == 200
        answered = 0
        while not any(request.done() for request in silent):  # 100 at least, while all of them hang
            assert gateway.get("/api/posts?q=x")[0] == 200
            answered += 1
            if answered == 100:
                break
        assert answered == 100
        statuses = [request.result() for request in silent]
        assert {request.result()[0] for request in upstream} <= {503, 504}
    assert {status for status, _ in statuses} == {504}
    assert max(seconds for _, seconds in statuses) < 10


def test_an_upstream_with_a_literal_address_is_never_looked_up(gateway: Gateway) -> None:
    begin = gateway.log.read_text().count("looked up")
    for service in ("posts?q=y", "auth/sessions"):
        gateway.get(f"/api/{service}")
    assert gateway.log.read_text().count("looked up") == begin


def test_many_silent_names_of_one_user_leave_threads_to_the_others(gateway: Gateway) -> None:
    with ThreadPoolExecutor(16) as clients:
        statuses = list(clients.map(lambda host: gateway.get(f"/api/proxy/{host}/", headers=USER)[0], HOSTS[2:]))
    assert set(statuses) == {503, 504}
    assert gateway.threads() < 40
