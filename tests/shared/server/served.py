"""Run the toy service in real gunicorn processes, and talk to it byte by byte."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
BACKLOG = 512
KINDS = ["threads", "events"]


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """The toy service on a socket that the test holds, as the supervisor does."""

    def __init__(self, kind: str, folder: Path, files: int = 4096, **settings: str) -> None:
        self.kind = kind
        self.log = folder / f"{kind}.log"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port = self.listener.getsockname()[1]
        environment = os.environ | {"APP_ENV": "test", "DATA_DIR": str(folder), "FORWARDED_ALLOW_IPS": "*"}
        environment |= settings
        if kind == "events" and (measured := os.environ.get("COVERAGE_PROCESS_CONFIG")):
            # To follow greenlets is dear, so only processes that have some do.
            environment["COVERAGE_PROCESS_CONFIG"] = measured.replace('["thread"]', '["thread", "gevent"]')
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh",
                 sys.executable, "-m", "tests.shared.server.toy_service", kind, str(self.listener.fileno())],
                cwd=ROOT, env=environment, stdout=log, stderr=log, pass_fds=[self.listener.fileno()],
            )  # fmt: skip
        self.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", timeout=90)

    def connect(self, timeout: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, request: bytes, timeout: float = 5) -> Answer:
        """Return the first answer to the bytes."""
        with self.connect(timeout) as client:
            client.sendall(request)
            return read_answer(client)

    def get(self, path: str) -> Answer:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def exchange(self, request: bytes, half_close: bool = False) -> list[Answer]:
        """Return all answers until the server ends the connection."""
        with self.connect() as client:
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return split_answers(read_to_end(client))

    def stop(self, how: int = signal.SIGTERM) -> float:
        """Stop the master and return the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(20)
        self.listener.close()
        return time.monotonic() - started

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines of the log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def logged(self, request_id: str) -> dict[str, Any]:
        """Wait for the line of a request and return it; there is one only."""
        wait_until(lambda: any(line.get("requestId") == request_id for line in self.lines()))
        [line] = [line for line in self.lines() if line.get("requestId") == request_id]
        return line


def read_to_end(client: socket.socket) -> bytes:
    """Read until the server closes; a reset counts as its end."""
    received = bytearray()
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionError:
        pass
    return bytes(received)


def read_answer(client: socket.socket) -> Answer:
    response = HTTPResponse(client)
    response.begin()
    return Answer(response.status, dict(response.getheaders()), response.read())


class _Replay:
    """Bytes in the place of a socket, for http.client to parse."""

    def __init__(self, data: bytes) -> None:
        self.file = BytesIO(data)
        self.file.close = lambda: None  # type: ignore[method-assign]

    def makefile(self, _mode: str) -> BytesIO:
        return self.file


def split_answers(data: bytes) -> list[Answer]:
    """Parse answers that follow each other; interim ones are passed over."""
    replay, answers = _Replay(data), []
    while re.match(rb"HTTP/1\.[01] \d{3}", data[replay.file.tell() :]):
        answers.append(read_answer(cast(socket.socket, replay)))
    assert replay.file.tell() == len(data), data[replay.file.tell() :][:200]
    return answers


def assert_refused(answer: Answer, code: str) -> dict[str, Any]:
    """Check the one error shape of an answer that the server gave itself, and return its body."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json
    assert body["success"] is False
    assert (body["code"], body["status"]) == (code, answer.status)
    assert body["type"].endswith(f"/api/errors/{code}")
    assert {"title", "detail", "instance"} <= body.keys()
    assert body["requestId"] == answer.headers["X-Request-ID"]
    assert answer.headers["Connection"] == "close"
    return body


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")
