import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services.messages.app import MIGRATIONS, create_app
from services.messages.config import Config
from services.messages.live_events import event_log
from services.messages.models import database
from shared.identity.jwks import Jwks
from tests.conftest import MakeToken

Client = Any  # Flask's, whose answers are of any shape
Headers = dict[str, str]
AsUser = Callable[..., Headers]


@pytest.fixture(scope="session")
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture(scope="session")
def as_user(make_token: MakeToken) -> AsUser:
    """Give the headers of somebody signed in: `as_user(user_id, role)`."""

    def as_user(user_id: str | None = None, role: str = "user") -> Headers:
        return {"Authorization": f"Bearer {make_token(user_id, role)}"}

    return as_user


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {"APP_ENV": "test", "DATA_DIR": str(tmp_path), "MESSAGES_DATABASE_URL": database_url, "LOG_LEVEL": "error"}


@pytest.fixture
def config(settings: dict[str, str]) -> Config:
    return Config.load(settings)


@pytest.fixture
def app(config: Config, jwks: Jwks) -> Iterator[Flask]:
    yield create_app(config, lambda: jwks)
    database.close()


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client()


@pytest.fixture
def moderator(as_user: AsUser) -> Headers:
    return as_user(role="moderator")


@contextmanager
def waiting_for_the_log(work: Callable[[], object]) -> Iterator[None]:
    """Hold the log while the block runs and the work, in a thread of its own, waits for it; then let it end."""

    def run() -> None:
        work()
        database.close()

    thread = threading.Thread(target=run)
    with database.atomic():
        event_log.lock()
        thread.start()
        time.sleep(0.3)
        yield
    thread.join(10)
    assert not thread.is_alive()
