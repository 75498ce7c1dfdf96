"""Fixtures for the tests of every service: who signs, what time it is, and which databases there are."""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import clock, tokens
from shared.ids import new_id
from tests.redis_server import RedisServer

POSTGRES = os.environ.get("POSTERN_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432").rstrip("/")
KEY_ID = "test-key"

MakeToken = Callable[..., str]


@pytest.fixture(autouse=True)
def _levels_of_the_log() -> Iterator[None]:
    """Let every service that a test makes set the level of the process's log for this test only."""
    loggers = [logging.getLogger(), logging.getLogger("postern")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse parameters that differ from run to run: the processes that share the tests must see the same ones."""
    ids = re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-7(?=[0-9a-f]{3}-)", item.nodeid)
    made_just_now = new_id()[:5]
    if any(found.startswith(made_just_now) for found in ids):
        raise pytest.UsageError(f"{item.nodeid} has an id that was made in this run; take tests.helpers.NOBODY")


class FrozenClock:
    """The time stands still until a test moves it."""

    def __init__(self) -> None:
        self.moment = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)

    def now(self, zone: tzinfo) -> datetime:
        return self.moment.astimezone(zone)

    def advance(self, **amount: float) -> None:
        self.moment += timedelta(**amount)


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    frozen = FrozenClock()
    monkeypatch.setattr(clock, "datetime", frozen)
    return frozen


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The private key that auth would hold."""
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def jwks(signing_key: Ed25519PrivateKey) -> tokens.Jwks:
    """What auth would publish."""
    key = jwt.algorithms.OKPAlgorithm.to_jwk(signing_key.public_key(), as_dict=True)
    return {"keys": [key | {"kid": KEY_ID, "use": "sig", "alg": "EdDSA"}]}


@pytest.fixture(scope="session")
def make_token(signing_key: Ed25519PrivateKey) -> MakeToken:
    """Return `make_token(user_id=…, role=…, **claims)`; a claim that is None is left out."""

    def make(
        user_id: str | None = None, role: str = "user", headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        now = clock.now().timestamp()
        payload: dict[str, Any] = {
            "iss": tokens.ISSUER,
            "aud": tokens.AUDIENCE,
            "sub": user_id or new_id(),
            "email": "ann@example.org",
            "name": "Ann",
            "role": role,
            "sid": new_id(),
            "jti": new_id(),
            "iat": now,
            "exp": int(now) + tokens.LIFETIME,
        }
        payload = {name: value for name, value in (payload | claims).items() if value is not None}
        return jwt.encode(payload, signing_key, "EdDSA", headers={"typ": tokens.TYPE, "kid": KEY_ID} | (headers or {}))

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the address of a database of its own on a PostgreSQL server; skip without a server."""
    name = f"postern_test_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL server can be reached")
    with admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield f"{POSTGRES}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def end_connections(url: str) -> None:
    """End what is connected to the database of the address, as a restart of the server would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty database, once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    url = request.getfixturevalue("postgres")
    yield url
    end_connections(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
