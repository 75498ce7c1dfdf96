from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask

from services.auth import create_app, passwords
from services.auth.config import Config
from services.auth.models import database

Client = Any  # Flask's, whose answers are of any shape
Register = Callable[..., dict[str, Any]]

PASSWORD = "a long secret"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords.nobodys_hash.cache_clear()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {"APP_ENV": "test", "DATA_DIR": str(tmp_path), "AUTH_DATABASE_URL": database_url, "LOG_LEVEL": "error"}


@pytest.fixture
def app(settings: dict[str, str]) -> Iterator[Flask]:
    app = create_app(Config.load(settings))
    yield app
    database.close()


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client()


@pytest.fixture
def register(client: Client) -> Register:
    """Make an account and return the answer's data."""

    def register(**changes: Any) -> dict[str, Any]:
        answer = client.post("/api/auth/register", json=account(**changes))
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json["data"]
        return data

    return register


def account(**changes: Any) -> dict[str, Any]:
    """Return what makes an account."""
    return {"name": "Ann", "email": "ann@example.org", "password": PASSWORD} | changes


def bearer(signin: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {signin['accessToken']}"}
