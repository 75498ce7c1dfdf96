"""Measure what one client that sends expensive input costs the others.

    python -m benchmarks.attacks [--seconds 8] [--only WORD]

A stack of its own is started with limits on. 20 clients ask again and again for what is cheap: `/api/hello` at the
gateway, `/api/tags` at the port of posts. Each figure is the time until a whole answer, in milliseconds, idle and then
under one attack after the other. The attackers are a process of their own with low priority, as if on another machine.
Each request comes from one of many addresses, as through a proxy in front, so that rate limits refuse nobody.
"""

import argparse
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from benchmarks.load import http
from tests.e2e.stack import Stack

CLIENTS = 20
PAUSE = 0.05  # seconds between the answer to a client and its next request
ATTACKERS = 4  # connections
MIB = 1024 * 1024
CHUNKED = {"Transfer-Encoding": "chunked"}
JSON = {"Content-Type": "application/json"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default="", metavar="WORD", help="attacks with this word in their names")
    parser.add_argument("--attack", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.attack:
        attack(*wanted.attack)
        return
    names = [name for name in ATTACKS if wanted.only in name]
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), RATELIMIT_ENABLED="true", TRUSTED_PROXIES="127.0.0.0/8", LOG_LEVEL="warning")
        stack.start()
        try:
            for service, path in (("gateway", "/api/hello"), ("posts", "/api/tags")):
                measure(stack.ports[service], service, path, names, wanted.seconds)
        finally:
            stack.stop()


def measure(port: int, service: str, path: str, names: list[str], seconds: float) -> None:
    """Print the times of one path, idle and under each attack on the same port."""
    print(f"{'GET ' + path + ' at ' + service:50}{'p50':>8}{'p99':>8}{'worst':>8}{'answers':>9}{'cut off':>9}")
    report("idle", ask(port, path, seconds))
    for name in names:
        command = [sys.executable, "-m", "benchmarks.attacks", "--attack", name, str(port)]
        attacker = subprocess.Popen(command)
        try:
            time.sleep(1)
            report(name, ask(port, path, seconds))
        finally:
            attacker.kill()
            attacker.wait()
        time.sleep(1)


def report(name: str, times: list[float | None]) -> None:
    answered = sorted(took * 1000 for took in times if took is not None)
    cuts = statistics.quantiles(answered, n=100) if len(answered) > 1 else [float("nan")] * 99
    figures = f"{cuts[49]:8.1f}{cuts[98]:8.1f}{max(answered, default=float('nan')):8.1f}"
    print(f"{name:50}{figures}{len(answered):9}{len(times) - len(answered):9}", flush=True)


def ask(port: int, path: str, seconds: float) -> list[float | None]:
    """Return the seconds that each answer took, None for a connection that was cut off."""
    times: list[float | None] = []
    until = time.monotonic() + seconds
    clients = [threading.Thread(target=ask_again, args=(port, path, until, times)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return times


def ask_again(port: int, path: str, until: float, times: list[float | None]) -> None:
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                while time.monotonic() < until:
                    began = time.perf_counter()
                    client.sendall(http("GET", path, headers=address()))
                    read_answer(client)
                    times.append(time.perf_counter() - began)
                    time.sleep(PAUSE)
        except OSError:
            times.append(None)


def read_answer(client: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError
        received += piece


_counter = itertools.count()


def address() -> dict[str, str]:
    """Return the header of a client that has not asked before."""
    number = next(_counter) + os.getpid() * 4096
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


def attack(name: str, port: str) -> None:
    """Send the same again and again over some connections, and read what is answered."""
    os.nice(10)
    for _ in range(ATTACKERS):
        threading.Thread(target=attack_again, args=(ATTACKS[name], int(port))).start()


def attack_again(pieces: Callable[[], Iterator[bytes]], port: int) -> None:
    while True:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = threading.Thread(target=drain, args=(connection,))
            reader.start()
            with suppress(OSError):
                for piece in pieces():
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
            reader.join()


def drain(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(65536):
            pass


def chunks(path: str, size: int, total: int, line: bytes = b"") -> Iterator[bytes]:
    """Send a body in chunks of this size; `line` extends the line before each."""
    yield _head("POST", path, CHUNKED | JSON)
    block = (b"%x%b\r\n%b\r\n" % (size, line, b" " * size)) * max(1, 65536 // (size + len(line)))
    for _ in range(total // (max(1, 65536 // (size + len(line))) * size) + 1):
        yield block
    yield b"0\r\n\r\n"


def again(request: Callable[[], bytes], times: int) -> Iterator[bytes]:
    for _ in range(times):
        yield request()


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        yield data[position : position + 1]


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in (headers | address()).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _json(item: str) -> Callable[[], Iterator[bytes]]:
    body = f"[{','.join([item] * ((MIB - 2) // (len(item) + 1)))}]".encode()
    return lambda: again(lambda: http("POST", "/api/hello", body, JSON | address()), 20)


def _header(name: str, value: str) -> Callable[[], Iterator[bytes]]:
    """Repeat reads with as much of a header as is taken."""
    full = (value * 8000)[: 8000 - len(name)].rstrip(",; ")
    return lambda: again(lambda: _head("GET", "/api/posts?limit=2", {name: full}), 80)


def _query(parameter: str) -> Callable[[], Iterator[bytes]]:
    query = (parameter * 8000)[:7900].rstrip("&")
    return lambda: again(lambda: _head("GET", f"/api/posts?{query}", {}), 80)


_random = Random(11).randbytes(6000).hex()
ATTACKS: dict[str, Callable[[], Iterator[bytes]]] = {
    "one-byte chunks, refused at once": lambda: chunks("/api/upload", 1, 8 * MIB),
    "one-byte chunks, accepted": lambda: chunks("/api/hello", 1, MIB),
    "chunks of 32 bytes, refused at once": lambda: chunks("/api/upload", 32, 8 * MIB),
    "chunks of 32 bytes, accepted": lambda: chunks("/api/hello", 32, MIB - 70_000),
    "chunks with extensions": lambda: chunks("/api/hello", 900, MIB - 70_000, b";a=b" * 400),
    "a large body, refused at once": lambda: again(lambda: http("POST", "/api/upload", bytes(8 * MIB), address()), 4),
    "a pipeline": lambda: again(lambda: b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 5000, 50),
    "a pipeline of refused posts": lambda: again(lambda: http("POST", "/api/posts", b"x", JSON) * 500, 50),
    "a head byte by byte": lambda: byte_by_byte(_head("GET", "/api/hello", {"X-A": "b" * 7000, "X-B": "b" * 7000})),
    "a body byte by byte": lambda: byte_by_byte(http("POST", "/api/hello", b" " * MIB, JSON | address())),
    "a head of lines byte by byte": lambda: byte_by_byte(
        _head("GET", "/api/hello", {f"X-{number}": "b" for number in range(90)})
    ),
    "JSON of empty lists": _json("[]"),
    "JSON nested 30 deep": _json("[" * 30 + "]" * 30),
    "JSON of numbers": _json("1"),
    "JSON of texts": _json('"\\u0041"'),
    "cookies": _header("Cookie", "a=b; "),
    "quoted cookies": _header("Cookie", 'a="\\054'),
    "a token": _header("Authorization", f"Bearer {_random}"),
    "media types": _header("Accept", "text/html;q=0.1,"),
    "languages": _header("Accept-Language", "de;q=0.1,"),
    "ranges": _header("Range", "bytes=0-1," + "2-3,"),
    "entity tags": _header("If-None-Match", '"a",'),
    "addresses of proxies": _header("X-Forwarded-For", "10.0.0.1, "),
    "hop-by-hop names": _header("Connection", "a,"),
    "cache directives": _header("Cache-Control", "a=b,"),
    "query keys": _query("a=b&"),
    "query escapes": _query("%C3%A4=%C3%A4&"),
    "path escapes": lambda: again(lambda: _head("GET", "/api/posts/" + "%C3%A4" * 1200, {}), 80),
    "path segments": lambda: again(lambda: _head("GET", "/api" + "/a" * 3900, {}), 80),
}


if __name__ == "__main__":
    main()
