"""Measure what the whole product costs: CPU time of all its processes per request through the gateway.

    python -m benchmarks.stack [--posts 10000] [--seconds 4] [--rounds 3]

A stack of its own is started with SQLite, as `make up` does, but without limits; it goes when all is measured. Each
figure is the median of the rounds, which go through all kinds of work in turn. Nothing but a closed loop of so many
connections asks: requests per second say what was offered on this machine, not what the product can take.
"""

import argparse
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from io import BytesIO
from pathlib import Path
from random import Random
from typing import NamedTuple

import orjson
from PIL import Image

from benchmarks import processes
from benchmarks.load import Request, http, load
from tests.e2e.stack import Stack

IDLE = 20.0  # seconds
PASSWORD = "demo password"


class Work(NamedTuple):
    """One kind of request, and over how many connections it comes."""

    name: str
    request: Request
    connections: int = 16


class Cost(NamedTuple):
    """What requests of one kind took in a round: µs of CPU of each, in the gateway and in all processes."""

    rate: float
    gateway: float
    whole: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack")
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), UPLOAD_QUOTA=str(1 << 40))
        _seed(stack, wanted.posts)
        began = time.monotonic()
        stack.start()
        print(f"ready after {time.monotonic() - began:.1f} s")
        try:
            _measure(stack, wanted.rounds, wanted.seconds)
        finally:
            stack.stop()


def _seed(stack: Stack, posts: int) -> None:
    command = [sys.executable, "-m", "services", "seed", "--users", "200", "--posts", str(posts), "--images", "0"]
    subprocess.run(command, env=stack.environment, check=True)


def _measure(stack: Stack, rounds: int, seconds: float) -> None:
    pid = stack.process.pid if stack.process else 0
    began = processes.cpu(pid)
    time.sleep(IDLE)
    print(f"idle: {(processes.cpu(pid) - began) / IDLE:.1%} of a core, {processes.memory(pid):.0f} MiB PSS")
    works = list(_works(stack))
    costs: dict[str, list[Cost]] = {work.name: [] for work in works}
    for _ in range(rounds):
        for work in works:
            costs[work.name].append(_cost(stack, work, seconds))
    print(f"{'':34}{'requests/s':>12}{'gateway µs':>12}{'all µs':>12}")
    for name, measured in costs.items():
        rate, gateway, whole = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"{name:34}{rate:12.0f}{gateway:12.0f}{whole:12.0f}")
    print(f"decoding that PNG alone: {_decoding() * 1e6:.0f} µs")
    parts = {processes.service(child): processes.memory(child) for child in processes.children(pid)}
    print(f"after the load: {processes.memory(pid):.0f} MiB PSS", {name: round(size) for name, size in parts.items()})


def _works(stack: Stack) -> list[Work]:
    signin = stack.post("/api/auth/login", {"email": "demo1@example.com", "password": PASSWORD})[1]["data"]
    user = {"Authorization": f"Bearer {signin['accessToken']}"}
    json = {"Content-Type": "application/json"}
    post = stack.get("/api/posts?limit=1")[1]["data"][0]["id"]
    new = {"title": "A post about lanterns", "content": "A lantern by the river. " * 22, "status": "published"}
    login = orjson.dumps({"email": "demo1@example.com", "password": PASSWORD})
    return [
        Work("W1 hello", Request(http("GET", "/api/hello"))),
        Work("W2 list of 20, from the cache", Request(http("GET", "/api/posts?page=1&limit=20"))),
        Work("W2 list of 20, signed in", Request(http("GET", "/api/posts?page=1&limit=20", headers=user))),
        Work("W3 one post, from the cache", Request(http("GET", f"/api/posts/{post}"))),
        Work("W3 one post, signed in", Request(http("GET", f"/api/posts/{post}", headers=user))),
        Work("W4 search, signed in", Request(http("GET", "/api/posts?q=lantern&limit=20", headers=user))),
        Work("W5 create a post", Request(http("POST", "/api/posts", orjson.dumps(new), user | json), 201)),
        Work("W6 log in", Request(http("POST", "/api/auth/login", login, json)), 2),
        Work("W7 upload a PNG of 1 MiB", Request(_upload(user), 201), 4),
    ]


def _cost(stack: Stack, work: Work, seconds: float) -> Cost:
    """Measure one round, after enough requests to fill caches and open connections."""
    whole = stack.process.pid if stack.process else 0
    gateway = next(pid for pid in processes.children(whole) if processes.service(pid) == "gateway")
    load(stack.ports["gateway"], work.request, seconds / 8, work.connections)
    before, began = (processes.cpu(gateway), processes.cpu(whole)), time.monotonic()
    answered = load(stack.ports["gateway"], work.request, seconds, work.connections)
    rate = answered / (time.monotonic() - began)
    return Cost(
        rate, *((processes.cpu(pid) - old) / answered * 1e6 for pid, old in zip((gateway, whole), before, strict=True))
    )


def _png() -> bytes:
    """Return a picture of noise, 1 MiB in all."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + Random(row).randbytes(512 * 3) for row in range(680))
    header = struct.pack(">IIBBBBB", 512, 680, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def _upload(user: dict[str, str]) -> bytes:
    disposition = b'Content-Disposition: form-data; name="file"; filename="a.png"'
    parts = b"--edge\r\n%b\r\n\r\n%b\r\n--edge--\r\n" % (disposition, _png())
    return http("POST", "/api/upload", parts, user | {"Content-Type": "multipart/form-data; boundary=edge"})


def _decoding() -> float:
    """Return the least seconds of CPU that it takes to decode the picture."""
    png, costs = _png(), []
    for _ in range(5):
        began = time.process_time()
        Image.open(BytesIO(png)).load()
        costs.append(time.process_time() - began)
    return min(costs)


if __name__ == "__main__":
    main()
