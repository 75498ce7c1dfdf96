"""Several gateway processes with one Redis are one gateway, and go on by themselves without it."""

import os
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.gateway.rate_limit.classes import CLASSES
from services.gateway.rate_limit.redis import FallbackWindow
from shared.telemetry.metrics_server import OFFSET
from tests.gateway.server.running import Gateway, running_gateway
from tests.gateway.upstreams import Upstream
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PROCESSES = 3
QUOTA = CLASSES["register"].quota


@pytest.fixture
def gateway(
    services: dict[str, Upstream], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    settings = {"GATEWAY_WORKERS": str(PROCESSES), "REDIS_URL": redis_server.url, "TRUSTED_PROXIES": "127.0.0.0/8"}
    folder = tmp_path_factory.mktemp("processes")
    with running_gateway(folder, services, **settings, APP_ENV="development", RATELIMIT_ENABLED="true") as gateway:
        yield gateway


def test_their_figures_are_told_together_also_those_of_one_that_was_killed(gateway: Gateway) -> None:
    for number in (1, 2, 3):
        with ThreadPoolExecutor(8) as at_once:
            list(at_once.map(lambda _: gateway.get("/api/hello"), range(20)))
        wait_until(lambda expected=20 * number: greetings(gateway) == expected)
        victim = gateway.workers[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda gone=victim: gone not in gateway.workers and len(gateway.workers) == PROCESSES)


def greetings(gateway: Gateway) -> int:
    """Return how many requests for /api/hello the metrics tell, -1 while nobody tells them."""
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{gateway.port + OFFSET}/metrics", timeout=5)
    except OSError:
        return -1
    sample = rb'^http_request_duration_seconds_count{method="GET",route="/api/hello",status="200"} (\d+)\.0$'
    found = re.search(sample, answer.read(), re.MULTILINE)
    return int(found[1]) if found else 0


def register(gateway: Gateway, address: str) -> int:
    return gateway.get("/api/auth/register", "POST", {"X-Forwarded-For": address})[0]


def tries(gateway: Gateway, address: str) -> Counter[int]:
    """Return how often which status was answered to tries at the same time, each on a connection of its own."""
    with ThreadPoolExecutor(8) as at_once:
        return Counter(at_once.map(lambda _: register(gateway, address), range(4 * QUOTA)))


def test_limits_are_exact_and_outlive_the_store(gateway: Gateway, redis_server: RedisServer) -> None:
    addresses = (f"198.51.100.{number}" for number in range(256))

    def are_exact() -> bool:
        return tries(gateway, next(addresses)) == {200: QUOTA, 429: 3 * QUOTA}

    wait_until(are_exact)  # not at the first try where a busy machine lets the store answer late
    redis_server.stop()
    try:
        alone = tries(gateway, "203.0.113.2")
        assert alone[200] + alone[429] == 4 * QUOTA  # nobody sees an error
        assert QUOTA <= alone[200] <= PROCESSES * QUOTA
        time.sleep(FallbackWindow.PAUSE)  # after which the store is asked again
        tries(gateway, "203.0.113.3")
        warnings = gateway.log.read_text().count("limits are counted in this process only")
        assert 1 <= warnings <= PROCESSES  # one a minute in each
    finally:
        redis_server.start()
    wait_until(are_exact)
    wait_until(lambda: b'"redis":{"status":"ok"' in gateway.get("/api/health")[1])
