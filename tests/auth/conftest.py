import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher
from flask import Flask

from services.auth import passwords
from services.auth.app import MIGRATIONS, create_app
from services.auth.config import Config
from services.auth.models import Fact, User, database

Client = Any  # Flask's, whose answers are of any shape
Register = Callable[..., dict[str, Any]]

PASSWORD = "a long secret"


@pytest.fixture(scope="session")
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


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


@pytest.fixture
def admin(client: Client, register: Register) -> dict[str, Any]:
    """Return the sign-in of an admin, who is the only one."""
    user_id = register(name="Root", email="root@example.org")["user"]["id"]
    User.update(role="admin", email_verified=True).where(User.id == user_id).execute()
    signin: dict[str, Any] = log_in(client, "root@example.org").json["data"]
    return signin


def account(**changes: Any) -> dict[str, Any]:
    """Return what makes an account."""
    return {"name": "Ann", "email": "ann@example.org", "password": PASSWORD} | changes


def bearer(signin: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {signin['accessToken']}"}


def log_in(client: Client, email: str = "ann@example.org", password: str = PASSWORD) -> Any:
    """Return the answer to a login."""
    return client.post("/api/auth/login", json={"email": email, "password": password})


def session_of(signin: dict[str, Any]) -> str:
    """Return the id of the session that an access token is of."""
    claims = jwt.decode(signin["accessToken"], options={"verify_signature": False})
    return str(claims["sid"])


def run_at_once(*tasks: Callable[[], None]) -> None:
    """Run the tasks in threads of their own that begin together, each with a connection of its own."""
    together = threading.Barrier(len(tasks), timeout=30)

    def run(task: Callable[[], None]) -> None:
        together.wait()
        try:
            task()
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def facts(*types: str) -> list[tuple[str, str]]:
    """Return type and subject of the facts of these types, in their order."""
    return [(fact.type, fact.subject) for fact in Fact.select().where(Fact.type.in_(types)).order_by(Fact.id)]
