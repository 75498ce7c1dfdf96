import ssl
from collections.abc import Iterator

import pytest

from services.gateway.app import create_app
from services.gateway.config import Config
from shared.service import service_of
from tests.gateway.outside.asking import HOST, Serve
from tests.gateway.outsiders import Authority, FalseInternet, Outsider
from tests.gateway.upstreams import Behaviour
from tests.gateway.wsgi_client import WsgiClient


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_context(authority: Authority) -> ssl.SSLContext:
    return authority.server_context(HOST, "b.example.org")


@pytest.fixture
def internet() -> FalseInternet:
    return FalseInternet()


@pytest.fixture
def host(internet: FalseInternet, server_context: ssl.SSLContext) -> Iterator[Serve]:
    """Start the host that every address leads to."""
    started: list[Outsider] = []

    def start(behaviour: Behaviour) -> Outsider:
        started.append(Outsider(behaviour, context=server_context))
        internet.port = started[-1].port
        return started[-1]

    yield start
    for outsider in started:
        outsider.close()


@pytest.fixture
def gateway(settings: dict[str, str], internet: FalseInternet, authority: Authority) -> Iterator[WsgiClient]:
    app = create_app(Config.load(settings | {"PROXY_ALLOWED_HOSTS": f"{HOST}, b.example.org"}))
    service_of(app).add(internet.outside(authority.client_context(), HOST, "b.example.org", total=2))
    yield WsgiClient(app)
    for stop in service_of(app).on_exit:
        stop()
