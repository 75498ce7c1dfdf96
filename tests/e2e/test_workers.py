"""Two processes of every service, on PostgreSQL and Redis."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.databases import PostgresServer
from tests.e2e.stack import ROOT, SERVICES, Stack
from tests.e2e.test_bad_days import children, masters
from tests.waiting import wait_until


@pytest.fixture
def grown_stack(postgres: PostgresServer, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    workers = {f"{name.upper()}_WORKERS": "2" for name in SERVICES}
    threads = {f"{name.upper()}_THREADS": "2" for name in SERVICES if name != "gateway"}
    with ExitStack() as databases:
        urls = {}
        for name in SERVICES:
            migrations = ROOT / "services" / name / "migrations"
            if name != "gateway":
                url = databases.enter_context(contextmanager(postgres.database)(migrations))
                urls[f"{name.upper()}_DATABASE_URL"] = url
        stack = Stack(tmp_path, REDIS_URL=redis_url, **workers, **threads, **urls)
        stack.start()
        yield stack
        stack.stop()


def test_two_processes_of_every_service_do_what_one_does(grown_stack: Stack) -> None:
    assert {name: len(children(master)) for name, master in masters(grown_stack).items()} == dict.fromkeys(SERVICES, 2)
    token = grown_stack.register()["accessToken"]
    post = grown_stack.publish(token)
    for _ in range(10):
        assert grown_stack.get("/api/auth/me", token)[0] == 200
        assert grown_stack.get(f"/api/posts/{post['id']}")[0] == 200
        assert grown_stack.get("/api/uploads", token)[0] == 200
    wait_until(lambda: grown_stack.get("/api/notifications", token)[1]["pagination"]["total"] == 1)
    for master in masters(grown_stack).values():
        os.kill(children(master)[0], signal.SIGKILL)
    wait_until(lambda: all(len(children(master)) == 2 for master in masters(grown_stack).values()))
    assert grown_stack.request("POST", "/api/auth/logout", token=token).status == 204
    wait_until(lambda: grown_stack.get("/api/uploads", token)[0] == 401)


@pytest.mark.parametrize("value", ["0", "65", "two", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_told_with_all_other_mistakes(tmp_path: Path, value: str) -> None:
    stack = Stack(tmp_path, AUTH_WORKERS=value, POSTS_THREADS=value, LOG_LEVEL="loud")
    with pytest.raises(AssertionError):
        stack.start()
    said = stack.log.read_text()
    assert all(f"  {name} " in said for name in ("AUTH_WORKERS", "POSTS_THREADS", "LOG_LEVEL")), said
