"""Fixtures for the tests of every service: who signs, what time it is, and which databases there are."""

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from werkzeug.routing import Rule

from shared import clock
from shared.database import connection
from shared.identity import access_tokens
from shared.identity.claims import LIFETIME
from shared.identity.jwks import Jwks
from shared.ids import new_id
from tests.databases import PostgresServer, SqliteTemplates
from tests.redis_server import RedisServer

POSTGRES = os.environ.get("POSTERN_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432").rstrip("/")
PATIENCE = 240.0  # seconds; the slowest test takes half a minute on a quiet machine
SYNCHRONOUS = connection.PRAGMAS["synchronous"]  # of the product
ENGINES = ["sqlite", "postgres"]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # where no SQL can differ
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Let a test that waits for ever fail where it waits, also when it is set up and when it has ended."""

    def give_up(*_: object) -> None:
        pytest.fail(f"it took longer than {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE / 4)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
def jwks(signing_key: Ed25519PrivateKey) -> Jwks:
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
            "iss": access_tokens.ISSUER,
            "aud": access_tokens.AUDIENCE,
            "sub": user_id or new_id(),
            "email": "ann@example.org",
            "name": "Ann",
            "role": role,
            "sid": new_id(),
            "jti": new_id(),
            "iat": now,
            "exp": int(now) + LIFETIME,
        }
        payload = {name: value for name, value in (payload | claims).items() if value is not None}
        return jwt.encode(
            payload, signing_key, "EdDSA", headers={"typ": access_tokens.TYPE, "kid": KEY_ID} | (headers or {})
        )

    return make


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Let SQLite in this process not wait until data are on the disk: no test takes the power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.PRAGMAS, "synchronous", "off")
        yield


@pytest.fixture(scope="session", autouse=True)
def _routing_rules_compiled_once() -> Iterator[None]:
    """Compile each routing rule once in a process: it is most of the time that another app of a service takes."""
    compile_builder = Rule._compile_builder
    compiled: dict[tuple[Any, ...], Callable[..., tuple[str, str]]] = {}

    def cached(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        if rule.defaults:  # then the function depends on converters too
            return compile_builder(rule, append_unknown)
        key = (rule.rule, tuple(rule._trace), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", cached)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server to make databases on; skip without one."""
    try:
        server = PostgresServer(POSTGRES)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL server can be reached")
    yield server
    server.close()


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> SqliteTemplates:
    return SqliteTemplates(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def sqlite_url(sqlite_templates: SqliteTemplates, migrations: Path, tmp_path: Path) -> str:
    """Return the address of a SQLite database with the tables of a service, made by its `migrations`."""
    return sqlite_templates.copy(migrations, tmp_path)


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, migrations: Path) -> Iterator[str]:
    """Return the address of a database with the tables of a service, once on each engine."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    else:
        yield from request.getfixturevalue("postgres").database(migrations)


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty database, once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
    else:
        yield from request.getfixturevalue("postgres").database(None)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
