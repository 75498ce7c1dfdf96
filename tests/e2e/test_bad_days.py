"""Days on which processes die: nothing that was acknowledged is lost, nothing happens twice."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
import urllib3

from tests.e2e.stack import OWN_PATHS, SERVICES, Stack
from tests.waiting import assert_within, wait_until

BACK_WITHIN = 5.0  # seconds


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def masters(stack: Stack) -> dict[str, int]:
    """Return the process ids of the gunicorn masters by service."""
    assert stack.process
    found = {}
    for pid in children(stack.process.pid):
        command = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout.split()
        if command and (name := command[-1].strip("[]")) in SERVICES:
            found[name] = pid
    return found


def test_data_and_tokens_survive_a_restart(own_stack: Stack) -> None:
    token = own_stack.register("Before")["accessToken"]
    post = own_stack.publish(token)
    assert own_stack.stop() == 0
    own_stack.start()
    assert own_stack.get("/api/auth/me", token)[1]["data"]["name"] == "Before"
    assert own_stack.get(f"/api/posts/{post['id']}")[0] == 200


@pytest.mark.parametrize("service", OWN_PATHS)
def test_a_session_that_ended_stays_ended_for_a_process_that_is_killed(stack: Stack, service: str) -> None:
    path = OWN_PATHS[service]
    token = stack.register()["accessToken"]
    assert stack.get(path, token, service)[0] == 200
    assert stack.request("POST", "/api/auth/logout", token=token, service="auth").status == 204
    wait_until(lambda: stack.get(path, token, service)[0] == 401)
    os.kill(masters(stack)[service], signal.SIGKILL)
    assert first_answer(stack, path, token, service) == (401, "TOKEN_REVOKED")


def first_answer(stack: Stack, path: str, token: str, service: str) -> tuple[int, str]:
    """Return status and code of the first request that a process answers after it was killed."""
    answers: list[tuple[int, str]] = []

    def answered() -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            status, answer = stack.get(path, token, service)
            answers.append((status, answer.get("code")))
        return bool(answers)

    wait_until(answered)
    return answers[0]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopping_leaves_no_process_behind(own_stack: Stack, how: signal.Signals) -> None:
    family = [pid for master in masters(own_stack).values() for pid in (master, *children(master))]
    assert len(family) == 2 * len(SERVICES)
    assert own_stack.stop(how) == 0
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family))


@pytest.mark.parametrize("victim", ["worker", "master"])
def test_no_acknowledged_post_is_lost_or_doubled_when_processes_are_killed(own_stack: Stack, victim: str) -> None:
    token = own_stack.register()["accessToken"]
    writer = Writer(own_stack, token)
    writer.start()

    def kill_and_wait(service: str) -> float:
        writer.wait_for(10)
        master = masters(own_stack)[service]
        os.kill(master if victim == "master" else children(master)[0], signal.SIGKILL)
        return writer.wait_for(1)

    for service in ("posts", "gateway"):
        assert_within(BACK_WITHIN, partial(kill_and_wait, service))
    writer.finish()
    assert sorted(titles(own_stack, token)) == sorted(writer.acknowledged)


class Writer(threading.Thread):
    """Write posts one after the other; each is repeated under its key until it is acknowledged."""

    def __init__(self, stack: Stack, token: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self._stack = stack
        self._token = token
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            title = f"Post number {number}"
            wait_until(self._write(title))
            self.acknowledged.append(title)

    def _write(self, title: str) -> Callable[[], bool]:
        body = {"title": title, "content": "Some words to read.", "status": "published"}
        key = title.replace(" ", "-")

        def acknowledged() -> bool:
            try:
                return self._stack.post("/api/posts", body, self._token, Idempotency_Key=key)[0] == 201
            except urllib3.exceptions.HTTPError:
                return False

        return acknowledged

    def wait_for(self, more: int) -> float:
        """Wait until so many more posts are acknowledged, and return the seconds it took."""
        seen = len(self.acknowledged)
        return wait_until(lambda: len(self.acknowledged) >= seen + more)

    def finish(self) -> None:
        self._stopping.set()
        self.join(40)
        assert not self.is_alive()


def titles(stack: Stack, token: str) -> list[str]:
    """Return the titles of all posts, walked by cursor."""
    found: list[str] = []
    query = "limit=100"
    while True:
        page = stack.get(f"/api/posts?{query}", token)[1]
        found += [post["title"] for post in page["data"]]
        if not page["pagination"]["hasMore"]:
            return found
        query = f"limit=100&cursor={page['pagination']['nextCursor']}"
