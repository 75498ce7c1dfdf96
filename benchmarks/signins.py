"""Measure a burst: 100 registrations, then 100 sign-ins, at once from different addresses, limits on.

    python -m benchmarks.signins [--clients 100] [--rounds 3]

A stack of its own is started with SQLite, as `make up` does. Beside each burst one user after the other asks for
`GET /api/auth/me`. The clients are threads of this process, so their share of the machine is in the figures.
"""

import argparse
import http.client
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.e2e.stack import Stack

PASSWORD = "a long demo secret"
READERS = 20  # users who ask in turn, so that none meets a limit
PAUSE = 0.02  # seconds between two of their questions
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """What came of a request, and after how many seconds."""

    status: int
    seconds: float
    data: Any


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signins")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), RATELIMIT_ENABLED="true", TRUSTED_PROXIES="127.0.0.0/8")
        stack.start()
        try:
            _measure(stack.ports["gateway"], wanted.clients, wanted.rounds)
        finally:
            stack.stop()


def _measure(port: int, clients: int, rounds: int) -> None:
    readers = [_register(port, f"reader{number}", f"203.0.113.{number}") for number in range(READERS)]
    tokens = [answer.data["accessToken"] for answer in readers]
    print(f"{'':16}{'statuses':>16}{'slowest s':>12}{'me p95 ms':>12}{'me max ms':>12}")
    for lap in range(rounds):
        for name, act in (("registrations", _register), ("sign-ins", _sign_in)):

            def start(number: int, act: Callable[[int, str, str], Answer] = act, lap: int = lap) -> Answer:
                return act(port, f"c{lap}x{number}", _at(number))

            answers, beside = _burst(port, tokens, clients, start)
            statuses = dict(Counter(answer.status for answer in answers))
            slowest = max(answer.seconds for answer in answers)
            p95 = statistics.quantiles(beside, n=20)[-1] * 1000
            print(f"{name:16}{statuses!s:>16}{slowest:12.2f}{p95:12.1f}{max(beside) * 1000:12.1f}")


def _at(number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}"


def _burst(
    port: int, tokens: list[str], clients: int, act: Callable[[int], Answer]
) -> tuple[list[Answer], list[float]]:
    """Let all clients act at once; return their answers, and how long the readers waited meanwhile."""
    together, answers, beside = threading.Barrier(clients + 1), list[Answer](), list[float]()

    def run(number: int) -> None:
        together.wait()
        answers.append(act(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    together.wait()
    while any(thread.is_alive() for thread in threads) or len(beside) < READERS:
        token = tokens[len(beside) % len(tokens)]
        beside.append(_ask(port, "GET", "/api/auth/me", None, {"Authorization": f"Bearer {token}"}).seconds)
        time.sleep(PAUSE)
    return answers, beside


def _register(port: int, name: str, address: str) -> Answer:
    body = {"name": f"Client {name}", "email": f"{name}@example.com", "password": PASSWORD}
    return _ask(port, "POST", "/api/auth/register", body, {"X-Forwarded-For": address})


def _sign_in(port: int, name: str, address: str) -> Answer:
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    return _ask(port, "POST", "/api/auth/login", body, {"X-Forwarded-For": address})


def _ask(port: int, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, orjson.dumps(body) if body else None, headers | (JSON if body else {}))
        response = connection.getresponse()
        content = orjson.loads(response.read())
    finally:
        connection.close()
    return Answer(response.status, time.monotonic() - began, content.get("data"))


if __name__ == "__main__":
    main()
