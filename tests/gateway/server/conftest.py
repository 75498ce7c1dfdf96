from collections.abc import Iterator

import pytest

from services.gateway.routes import SERVICES
from tests.gateway.conftest import answer_as_auth
from tests.gateway.server.running import Gateway, running_gateway
from tests.gateway.upstreams import Upstream, echo


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    running = {name: Upstream(answer_as_auth if name == "auth" else echo) for name in SERVICES}
    yield running
    for upstream in running.values():
        upstream.close()


@pytest.fixture(scope="module")
def running(services: dict[str, Upstream], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), services) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Gateway, services: dict[str, Upstream]) -> Iterator[Gateway]:
    """The running gateway, before services that have heard nothing yet."""
    for name in ("posts", "uploads"):
        services[name].behaviour = echo
        services[name].received.clear()
    yield running
    for upstream in services.values():
        upstream.hang_up()


@pytest.fixture
def posts(services: dict[str, Upstream]) -> Upstream:
    return services["posts"]


@pytest.fixture
def uploads(services: dict[str, Upstream]) -> Upstream:
    return services["uploads"]
