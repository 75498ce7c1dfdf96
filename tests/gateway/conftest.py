import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.gateway.app import create_app
from services.gateway.config import Config
from services.gateway.proxy import connection_pool as pool_module
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.routes import SERVICES
from shared.identity.claims import LEEWAY, LIFETIME
from shared.ids import new_id
from shared.service import service_of
from tests.gateway.forwarding import Pools, PoolTo, Start
from tests.gateway.upstreams import Behaviour, Line, Upstream, echo, json_response
from tests.gateway.wsgi_client import WsgiClient

KEY = Ed25519PrivateKey.generate()
JWKS = {"keys": [jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "one", "use": "sig"}]}


def make_token(
    user_id: str = "", role: str = "user", age: int = 0, key: Ed25519PrivateKey = KEY, session_id: str = ""
) -> str:
    """Return a token that was made `age` seconds ago, as long-lived as may be: some are made at the collection."""
    now = int(time.time()) - age
    claims = {
        "sub": user_id or new_id(),
        "email": "ann@example.org",
        "name": "Ann",
        "role": role,
        "sid": session_id or new_id(),
        "jti": new_id(),
        "iat": now,
        "exp": now + LIFETIME + LEEWAY,
        "iss": "postern",
        "aud": "postern",
    }
    return jwt.encode(claims, key, "EdDSA", headers={"kid": "one", "typ": "at+jwt"})


def as_user(role: str = "user", user_id: str = "") -> dict[str, str]:
    """Return the header of somebody signed in."""
    return {"Authorization": f"Bearer {make_token(user_id, role)}"}


@pytest.fixture
def serve() -> Iterator[Start]:
    """Start upstreams, and stop them after the test."""
    started: list[Upstream] = []

    def start(behaviour: Behaviour) -> Upstream:
        started.append(Upstream(behaviour))
        return started[-1]

    yield start
    for upstream in started:
        upstream.close()


def answer_as_auth(line: Line) -> None:
    """Give the public keys and a feed without news, and tell what else was received."""
    while request := line.read():
        if request.target == "/.well-known/jwks.json":
            line.send(json_response(JWKS))
        elif request.target.startswith("/internal/feed"):
            line.send(json_response([]))
        else:
            line.send(json_response({"target": request.target, "headers": request.headers}))


@pytest.fixture
def services(serve: Start) -> dict[str, Upstream]:
    """Every service of the route table."""
    return {name: serve(answer_as_auth if name == "auth" else echo) for name in SERVICES}


@pytest.fixture
def auth(services: dict[str, Upstream]) -> Upstream:
    return services["auth"]


@pytest.fixture
def posts(services: dict[str, Upstream]) -> Upstream:
    return services["posts"]


@pytest.fixture
def uploads(services: dict[str, Upstream]) -> Upstream:
    return services["uploads"]


@pytest.fixture
def settings(services: dict[str, Upstream], tmp_path: Any) -> dict[str, str]:
    return {
        "APP_ENV": "test",
        "DATA_DIR": str(tmp_path),
        **{f"{name.upper()}_URL": upstream.url for name, upstream in services.items()},
        "CORS_ORIGINS": "https://app.example.org,http://localhost:3000",
        "TRUSTED_PROXIES": "10.0.0.0/8",
    }


class StartGateway(Protocol):
    """Start the gateway with these settings changed, until the test ends."""

    def __call__(self, **changed: str) -> WsgiClient: ...


@pytest.fixture
def start_gateway(settings: dict[str, str]) -> Iterator[StartGateway]:
    stops: list[Callable[[], object]] = []

    def start(**changed: str) -> WsgiClient:
        app = create_app(Config.load(settings | changed))
        stops.extend(service_of(app).on_exit)
        return WsgiClient(app)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def client(start_gateway: StartGateway) -> WsgiClient:
    return start_gateway()


class Connected(NamedTuple):
    """Both sides of a client's connection."""

    ours: socket.socket
    theirs: socket.socket


@pytest.fixture
def connected() -> Iterator[Connected]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield Connected(ours, theirs)


@pytest.fixture
def pools() -> Iterator[Pools]:
    made: list[ConnectionPool] = []

    def make(upstream: Upstream) -> ConnectionPool:
        made.append(ConnectionPool("test", upstream.url))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use connections again at once."""
    monkeypatch.setattr(pool_module, "MIN_IDLE_AGE", 0.0)


@pytest.fixture
def pool_to(serve: Start, pools: Pools) -> PoolTo:
    return lambda behaviour: pools(serve(behaviour))
