import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services.posts.app import MIGRATIONS, create_app
from services.posts.config import Config
from services.posts.models import database
from shared.identity.jwks import Jwks
from tests.conftest import MakeToken
from tests.helpers import assert_problem

Client = Any  # Flask's, whose answers are of any shape
Headers = dict[str, str]
AsUser = Callable[..., Headers]
Write = Callable[..., dict[str, Any]]

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@pytest.fixture(scope="session")
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture(scope="session")
def as_user(make_token: MakeToken) -> AsUser:
    """Give the headers of somebody signed in: `as_user("Bob", "moderator", user_id)`."""

    def as_user(name: str = "Ann", role: str = "user", user_id: str | None = None) -> Headers:
        return {"Authorization": f"Bearer {make_token(user_id, role, name=name)}"}

    return as_user


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {"APP_ENV": "test", "DATA_DIR": str(tmp_path), "POSTS_DATABASE_URL": database_url, "LOG_LEVEL": "error"}


@pytest.fixture
def app(settings: dict[str, str], jwks: Jwks) -> Iterator[Flask]:
    app = create_app(Config.load(settings), lambda: jwks)
    yield app
    database.close()


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client()


@pytest.fixture
def ann(as_user: AsUser) -> Headers:
    return as_user("Ann")


@pytest.fixture
def bob(as_user: AsUser) -> Headers:
    return as_user("Bob")


@pytest.fixture
def moderator(as_user: AsUser) -> Headers:
    return as_user("Mo", "moderator")


def body(**changes: Any) -> dict[str, Any]:
    """Return what makes a published post."""
    return {"title": "The lantern", "content": "A lantern by the river.", "status": "published"} | changes


@pytest.fixture
def write(client: Client, ann: Headers) -> Write:
    """Write a post and return it."""

    def write(headers: Headers = ann, **changes: Any) -> dict[str, Any]:
        answer = client.post("/api/posts", json=body(**changes), headers=headers)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json["data"]
        return data

    return write


def refused(answer: Any, status: int, code: str, *fields: str) -> None:
    """Assert the one error shape, and which fields it names."""
    assert sorted(assert_problem(answer, status, code).get("errors", {})) == sorted(fields)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls in threads that start together; return what they return."""
    barrier = threading.Barrier(len(calls), timeout=30)
    results: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = calls[index]()
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
