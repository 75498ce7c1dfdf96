"""Measure what an upload costs: CPU time of each process for a PNG of 1 MB, and memory for a file of 1 GB both ways.

    python -m benchmarks.uploads [--rounds 40] [--gigabytes 1]

A stack of its own is started, without rate limits. "decoding" is what the same check of the image takes in this
process, measured before. What the services take while nobody asks is measured too, and left out. For the large file a
second gateway and uploads service run with their limits raised; it is a "PDF" of zeros, sent and fetched in blocks, and
the peaks are those of each service's largest process, above what it had before.
"""

import argparse
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.images import sample
from shared.server.run import serve
from tests.e2e.stack import Stack
from tests.ports import free_port
from tests.uploads import samples
from tests.waiting import wait_until

BLOCK = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        serve_any_size(wanted.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), UPLOAD_QUOTA=str(2**40), LOG_LEVEL="error")
        stack.start()
        try:
            token = stack.register()["accessToken"]
            _measure_png(stack, token, wanted.rounds)
            if wanted.gigabytes:
                _measure_large(stack, token, int(wanted.gigabytes * 2**30))
        finally:
            stack.stop()


def _measure_png(stack: Stack, token: str, rounds: int) -> None:
    data = sample("PNG")
    for _ in range(5):
        stack.upload("a.png", data, token)
    pids = {name: pid for name, pid in _services(stack).items() if name in ("gateway", "uploads")}
    from services.uploads.imaging import sanitizer

    began = time.process_time()
    for _ in range(rounds):
        sanitizer.clean(data, "image/png")
    decoding = (time.process_time() - began) / rounds * 1e6
    idle, _ = _cpu_of(pids, lambda: time.sleep(5))
    used, seconds = _cpu_of(pids, lambda: [stack.upload("a.png", data, token) for _ in range(rounds)])
    costs = {name: (used[name] - idle[name] * seconds / 5) / rounds * 1e6 for name in pids}
    print(f"{'PNG of ' + str(len(data)) + ' bytes':24}{'CPU µs':>10}{'peak MiB':>10}")
    for name, pid in pids.items():
        print(f"{name:24}{costs[name]:10.0f}{_peak(pid):10.1f}")
    print(f"{'decoding':24}{decoding:10.0f}\n{'all besides decoding':24}{sum(costs.values()) - decoding:10.0f}")


def _cpu_of(pids: dict[str, int], work: Callable[[], object]) -> tuple[dict[str, float], float]:
    """Return the seconds of CPU of each process while this works, and how long it did."""
    before, began = {name: processes.cpu(pid) for name, pid in pids.items()}, time.monotonic()
    work()
    seconds = time.monotonic() - began
    return {name: processes.cpu(pid) - before[name] for name, pid in pids.items()}, seconds


def _services(stack: Stack) -> dict[str, int]:
    whole = stack.process.pid if stack.process else 0
    return {processes.service(pid): pid for pid in processes.children(whole)}


def _peak(pid: int) -> float:
    """Return the most MiB that a process or one below it has had at any time."""
    told = "".join(Path(f"/proc/{one}/status").read_text() for one in processes.tree(pid))
    return max(int(line.split()[1]) / 1024 for line in told.splitlines() if line.startswith("VmHWM:"))


def _measure_large(stack: Stack, token: str, size: int) -> None:
    ports = {name: free_port() for name in ("gateway", "uploads")}
    environment = stack.environment | {f"{name.upper()}_PORT": str(port) for name, port in ports.items()}
    environment["UPLOADS_URL"] = f"http://127.0.0.1:{ports['uploads']}"
    command = [sys.executable, "-m", "benchmarks.uploads", "--serve"]
    running = {name: subprocess.Popen([*command, name], env=environment) for name in reversed(ports)}
    try:
        owner = _owner(stack, token)
        path = f"/api/files/{owner}/large.pdf"
        wait_until(lambda: _answers(ports["gateway"], "/api/health"), 30)
        wait_until(lambda: _answers(ports["uploads"], "/readyz"), 30)
        before = {name: _peak(process.pid) for name, process in running.items()}
        for name, method in (("upload", "PUT"), ("download", "GET")):
            began = time.monotonic()
            _transfer(ports["gateway"], method, path, token, size)
            peaks = {name: _peak(process.pid) - before[name] for name, process in running.items()}
            told = ", ".join(f"{service} {peak:+.1f} MiB" for service, peak in peaks.items())
            print(f"{name} of {size} bytes in {time.monotonic() - began:.1f} s: {told}")
    finally:
        for process in running.values():
            process.terminate()
            process.wait(15)


def _owner(stack: Stack, token: str) -> str:
    owner: str = stack.get("/api/auth/me", token)[1]["data"]["id"]
    return owner


def _answers(port: int, path: str) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False


def _transfer(port: int, method: str, path: str, token: str, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    headers = {"Authorization": f"Bearer {token}"}
    if method == "PUT":
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
            connection.request(method, path, _zeros(size), headers | {"Content-Length": str(size)})
    else:
        connection.request(method, path, headers=headers)
    answer, received = connection.getresponse(), 0
    said = b""
    while block := answer.read(BLOCK):
        received += len(block)
        said = block[:500]
    if answer.status not in (200, 201) or (method == "GET" and received != size):
        raise ValueError(f"{method} answered {answer.status} with {received} bytes: {said!r}")


def _zeros(size: int) -> Iterator[bytes]:
    whole = samples.pdf()
    table, left = whole.index(b"xref"), size - len(whole)
    yield whole[:table]
    end = whole[table:].replace(b"%012d" % table, b"%012d" % (table + left))
    while left:
        block = bytes(min(left, BLOCK))
        left -= len(block)
        yield block
    yield end


def serve_any_size(name: str) -> None:
    """Serve the gateway or uploads, as they are but for their limits on sizes."""
    config = import_module(f"services.{name}.config").Config.from_environment()
    serve(name, partial(_load, name), config, port=config.port_of(name), events=name == "gateway")


def _load(name: str) -> Any:
    app = import_module(f"services.{name}.app").create_app()
    if name == "gateway":
        for route in import_module("services.gateway.routes").ROUTES:
            object.__setattr__(route, "max_body", 2**40)
            object.__setattr__(route, "first_byte", 120.0)
    else:
        object.__setattr__(import_module("services.uploads.file_types.registry").PDF, "max_size", 2**40)
        vars(import_module("services.uploads.http.incoming_file"))["MAX_PDF"] = 2**40
    return app


if __name__ == "__main__":
    main()
