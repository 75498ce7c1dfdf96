"""The gateway under its real server, with the event loop, on a real port."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.conftest import as_user
from tests.gateway.upstreams import Upstream
from tests.ports import free_port
from tests.waiting import wait_until

MIB = 1024 * 1024
USER = as_user()
TOKEN = USER["Authorization"]


@dataclass
class Gateway:
    """A running gateway."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, data: bytes) -> bytes:
        """Send raw bytes, and return all that comes until the gateway closes."""
        with self.raw() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def memory(self) -> int:
        """Return the most resident KiB that the worker has had."""
        return self._status("VmHWM")

    def threads(self) -> int:
        return self._status("Threads")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.worker}/fd").iterdir()))

    def nameless_files(self) -> int:
        targets = []
        for descriptor in Path(f"/proc/{self.worker}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has been closed meanwhile
                targets.append(os.readlink(descriptor))
        return sum(target.startswith("/") and target.endswith("(deleted)") for target in targets)

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    @property
    def worker(self) -> int:
        [pid] = self.workers
        return pid

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.worker}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    def wait_for_log(self, text: str) -> None:
        """Wait until the log has this."""
        wait_until(lambda: text in self.log.read_text())

    def get(self, target: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request(method, target, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def running_gateway(folder: Path, services: Mapping[str, Upstream], **changed: str) -> Iterator[Gateway]:
    """Run the gateway in front of the services, with these settings changed."""
    port = free_port()
    environ = {f"{name.upper()}_URL": upstream.url for name, upstream in services.items()} | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "APP_ENV": "test",
        "DATA_DIR": str(folder),
        "GATEWAY_PORT": str(port),
        "RATELIMIT_ENABLED": "false",
        "CACHE_MIB": "0",
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "services", "gateway"]
        process = subprocess.Popen(command, env=environ | changed, stderr=log, cwd=folder)
    gateway = Gateway(port, process, folder / "log")
    try:
        wait_until_it_answers(gateway)
        yield gateway
    finally:
        process.terminate()
        process.wait(20)


def wait_until_it_answers(gateway: Gateway) -> None:
    """Ask until there is an answer: connections are taken before anybody has started to answer them."""
    deadline = time.monotonic() + 120
    while True:
        try:
            gateway.get("/api/docs")
            return
        except OSError:
            if time.monotonic() > deadline or gateway.process.poll() is not None:
                raise
            time.sleep(0.02)
