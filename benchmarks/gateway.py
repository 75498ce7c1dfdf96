"""Measure what the gateway costs: CPU time of its process per request, beside an empty app under the same worker.

    python -m benchmarks.gateway [--seconds 1] [--rounds 10]

A stack of its own is started, as `make up` does, with all policies on. The limits hold: each request comes from one
of many addresses, as through a proxy in front. Rounds go through all kinds of work in turn; each figure is the best of
them, as whatever else the machine does only adds to it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import processes
from benchmarks.load import Request, http, load
from shared.server.run import serve
from shared.settings import BaseConfig
from tests.e2e.stack import Stack
from tests.ports import free_port
from tests.waiting import wait_until

ADDRESSES = 4000
CONNECTIONS = 16
PASSED_BY = {"Range": "bytes=0-"}  # such a read goes to the service, whatever is kept


class Work(NamedTuple):
    """One kind of request, to a server of this port, whose master process has this id."""

    name: str
    port: int
    pid: int
    request: Request


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--empty", type=int, metavar="PORT", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.empty:
        config = BaseConfig.load({"APP_ENV": "test", "LOG_LEVEL": "error"})
        serve("empty", lambda: empty, config, port=wanted.empty, events=True)
        return
    with tempfile.TemporaryDirectory() as folder, _started(Path(folder)) as stack, _empty() as (port, pid):
        works = [Work("an empty app", port, pid, _read("/")), *_works(stack)]
        costs: dict[str, list[tuple[float, float]]] = {work.name: [] for work in works}
        for _ in range(wanted.rounds):
            for work in works:
                costs[work.name].append(_cost(work, wanted.seconds))
    print(f"{'':40}{'requests/s':>12}{'CPU µs':>12}")
    for name, measured in costs.items():
        rates, cpus = zip(*measured, strict=True)
        print(f"{name:40}{max(rates):12.0f}{min(cpus):12.0f}")


def empty(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Say nothing to everybody."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return (b"ok",)


@contextmanager
def _empty() -> Iterator[tuple[int, int]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gateway", "--empty", str(port)])
    try:
        wait_until(lambda: processes.children(process.pid), 10)
        time.sleep(1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _started(folder: Path) -> Iterator[Stack]:
    stack = Stack(folder, RATELIMIT_ENABLED="true", TRUSTED_PROXIES="127.0.0.0/8")
    seed = [sys.executable, "-m", "services", "seed", "--users", "20", "--posts", "1000", "--images", "0"]
    subprocess.run(seed, env=stack.environment, check=True)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def _works(stack: Stack) -> list[Work]:
    whole = stack.process.pid if stack.process else 0
    gateway = next(pid for pid in processes.children(whole) if processes.service(pid) == "gateway")
    post = f"/api/posts/{stack.get('/api/posts?limit=1')[1]['data'][0]['id']}"
    reads = {
        "a list of 20 from the cache": _read("/api/posts?limit=20"),
        "one post from the cache": _read(post),
        "a list of 20 passed on": _read("/api/posts?limit=20", PASSED_BY),
        "one post passed on": _read(post, PASSED_BY),
        "GET /api/hello": _read("/api/hello"),
    }
    return [Work(name, stack.ports["gateway"], gateway, request) for name, request in reads.items()]


def _read(path: str, headers: dict[str, str] | None = None) -> Request:
    """Return the read as it comes from one address after the other."""
    addresses = (f"198.18.{number >> 8}.{number & 255}" for number in range(ADDRESSES))
    one, *others = (http("GET", path, headers={"X-Forwarded-For": each} | (headers or {})) for each in addresses)
    return Request(one, others=others)


def _cost(work: Work, seconds: float) -> tuple[float, float]:
    """Return requests per second and µs of CPU of each, after enough of them to fill the cache."""
    load(work.port, work.request, 0.3, CONNECTIONS)
    before, began = processes.cpu(work.pid), time.monotonic()
    answered = load(work.port, work.request, seconds, CONNECTIONS)
    return answered / (time.monotonic() - began), (processes.cpu(work.pid) - before) / answered * 1e6


if __name__ == "__main__":
    main()
