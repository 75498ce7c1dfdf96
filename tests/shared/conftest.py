"""Fixtures of the kit's tests: the toy service on one or both engines."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry, values
from werkzeug.serving import make_server

from shared.identity.jwks import Jwks
from shared.ids import new_id
from shared.telemetry import metrics
from tests.conftest import MakeToken
from tests.shared.toys import MIGRATIONS, Config, create_app
from tests.shared.toys.models import database

AsUser = Callable[..., dict[str, str]]
Serve = Callable[[Flask], str]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {"APP_ENV": "test", "DATA_DIR": str(tmp_path), "PUBLIC_URL": "http://gateway.test", "LOG_LEVEL": "debug"}


@pytest.fixture(scope="session")
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture
def app(settings: dict[str, str], sqlite_url: str, jwks: Jwks) -> Iterator[Flask]:
    """The toy service on SQLite."""
    yield create_app(Config.load(settings | {"TOYS_DATABASE_URL": sqlite_url}), lambda: jwks)
    database.close()


@pytest.fixture
def any_app(settings: dict[str, str], database_url: str, jwks: Jwks) -> Iterator[Flask]:
    """The toy service, once on each engine."""
    yield create_app(Config.load(settings | {"TOYS_DATABASE_URL": database_url}), lambda: jwks)
    database.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def any_client(any_app: Flask) -> FlaskClient:
    return any_app.test_client()


@pytest.fixture
def as_user(make_token: MakeToken) -> AsUser:
    """Return `as_user(user_id=…, role=…)`, which makes the header of somebody signed in."""
    return lambda *args, **claims: {"Authorization": f"Bearer {make_token(*args, **claims)}"}


@pytest.fixture
def ann(as_user: AsUser) -> dict[str, str]:
    return as_user(new_id())


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an app on a real port, with one thread; return its address."""
    running = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, lambda environ, start: app(environ, start))
        thread = threading.Thread(target=serve_until_stopped, args=(server,))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def serve_until_stopped(server: Any) -> None:
    server.serve_forever(poll_interval=0.01)
    database.close()


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(0)` … at the same time, each with a database connection of its own; return what they return."""
    results: list[Any] = [None] * number
    barrier = threading.Barrier(number, timeout=30)

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:  # noqa: BLE001 (the test sees it)
            results[index] = error
        finally:
            if database.obj:
                database.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture(autouse=True)
def quiet_werkzeug() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the metrics of the test are known; this process is one of some that count together."""
    monkeypatch.setattr(metrics, "_folder", None)
    monkeypatch.setattr(metrics, "_part", None)
    monkeypatch.setattr(metrics, "_registry", CollectorRegistry())
    monkeypatch.setattr(metrics.Metric, "made", 0)
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # which sharing sets
    metrics._warn_once.cache_clear()
    metrics.share()
    metrics.take_part(3)
    yield
    values.close_all_multiprocess_files()
    metrics.remove()
