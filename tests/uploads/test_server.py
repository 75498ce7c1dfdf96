"""The service as it runs: real sockets, the real server, clients that go away."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.identity.jwks import Jwks
from tests.uploads import samples
from tests.uploads.conftest import AsUser, Headers
from tests.uploads.tus_client import PART, PATH, SPEAKS, metadata
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
BOOT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
from services.__main__ import main
sys.exit(main(["uploads"]))
"""
BLOCK = 64 * 1024


@pytest.fixture(scope="module")
def auth(jwks: Jwks) -> Iterator[str]:
    """A stand-in for auth: its public keys and a feed without news."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = orjson.dumps([] if self.path.startswith("/internal") else jwks)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Served:
    """The service in processes of its own, on a socket that the test holds."""

    def __init__(self, folder: Path, auth: str, **settings: str) -> None:
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        usual = {"PATH": os.environ["PATH"], "APP_ENV": "test", "DATA_DIR": str(folder), "AUTH_URL": auth}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(self.listener.fileno())],
                cwd=ROOT, env=usual | settings, stdout=log, stderr=log, pass_fds=[self.listener.fileno()],
            )  # fmt: skip
        self.ask("GET", "/readyz", {})

    def ask(self, method: str, path: str, headers: Headers, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers, encode_chunked=False)
            answer = connection.getresponse()
            return answer.status, orjson.loads(answer.read() or b"null")
        finally:
            connection.close()

    def answer(self, method: str, path: str, headers: Headers, body: bytes | None = None) -> Any:
        """Return the headers of an answer that is a success."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()
        connection.close()
        return answer.headers

    def files(self) -> set[str]:
        """Return the files that are kept, and the drafts, which have no names but are open."""
        kept = {str(path) for path in (self.folder / "uploads").rglob("*") if path.is_file()}
        return kept | self.drafts()

    def drafts(self) -> set[str]:
        """Return the drafts that the worker has open."""
        links = set()
        for descriptor in Path(f"/proc/{self.worker()}/fd").iterdir():
            with suppress(FileNotFoundError):
                links.add(os.readlink(descriptor))
        folders = tuple(f"{self.folder}/{name}/" for name in ("uploads/tmp", "drafts"))
        return {link for link in links if link.startswith(folders)}

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def memory(self) -> int:
        """Return the peak of the worker's memory in KiB."""
        status = Path(f"/proc/{self.worker()}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.listener.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, auth: str) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"), auth)
    yield served
    served.stop()


def head(headers: Headers, *more: str) -> bytes:
    lines = ["POST /api/upload HTTP/1.1", "Host: localhost", f"Content-Type: {samples.MULTIPART}", *more]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def begin(served: Served, request: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", served.port), 30)
    client.sendall(request)
    return client


def has_no_uploads(served: Served, headers: Headers) -> bool:
    status, body = served.ask("GET", "/api/uploads", headers)
    return status == 200 and body["data"] == []


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_client_that_goes_away_leaves_nothing(served: Served, as_user: AsUser, framing: str, how: str) -> None:
    headers, before = as_user(), served.files()
    body = samples.form(samples.pdf(3_000_000), "a.pdf")[: 2 * 1024 * 1024]
    if framing == "length":
        request = head(headers, "Content-Length: 3000300") + body
    else:
        request = head(headers, "Transfer-Encoding: chunked") + b"%x\r\n" % (len(body) + 5) + body
    client = begin(served, request)
    wait_until(lambda: served.files() - before)
    if how == "half-close":
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    elif how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    wait_until(lambda: served.files() == before)
    assert has_no_uploads(served, headers)


def chunked(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


def test_a_body_in_chunks_is_taken(served: Served, as_user: AsUser) -> None:
    headers = as_user() | {"Content-Type": samples.MULTIPART}
    connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
    data = samples.png(200, 200)
    connection.request("POST", "/api/upload", chunked(samples.form(data)), headers, encode_chunked=True)
    answer = connection.getresponse()
    body = orjson.loads(answer.read())
    connection.close()
    assert (answer.status, body["data"]["size"]) == (201, len(data))


def test_a_body_of_one_byte_after_the_other_is_taken(served: Served, as_user: AsUser) -> None:
    body = samples.form(samples.pdf(), "a.pdf")
    client = begin(served, head(as_user(), f"Content-Length: {len(body)}", "Connection: close"))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for position in range(len(body)):
        client.sendall(body[position : position + 1])
    assert client.recv(100).startswith(b"HTTP/1.1 201")
    client.close()


LONG = {"Content-Length": "Content-Length: 30000000", "chunks": "Transfer-Encoding: chunked"}


@pytest.mark.parametrize("framing", LONG)
def test_a_client_that_still_sends_sees_the_413(served: Served, as_user: AsUser, framing: str) -> None:
    headers, before = as_user(), served.files()
    client = begin(served, head(headers, LONG[framing], "Connection: close"))
    block = b"\0" * BLOCK
    pieces = [samples.form(b"%PDF-" + block, "a.pdf")[:-20], *[block] * 170]
    for piece in pieces:
        client.sendall(piece if framing == "Content-Length" else b"%x\r\n%b\r\n" % (len(piece), piece))
    answer = b"".join(iter(lambda: client.recv(4000), b""))
    client.close()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"maxSize":10485760' in answer
    wait_until(lambda: served.files() == before)


def test_slow_uploads_do_not_keep_others_waiting(served: Served, as_user: AsUser) -> None:
    headers, before = as_user(), served.files()
    start = head(headers, "Content-Length: 3000300") + samples.form(samples.pdf(99_999), "a.pdf")[:50_000]
    clients = [begin(served, start) for _ in range(20)]
    wait_until(lambda: len(served.files() - before) == 20)
    assert has_no_uploads(served, headers)
    for client in clients:
        client.close()
    wait_until(lambda: served.files() == before)


def test_memory_of_the_process_does_not_follow_the_bodies(served: Served, as_user: AsUser) -> None:
    headers = as_user() | {"Content-Type": samples.MULTIPART}
    small, large = (samples.form(samples.pdf(size), "a.pdf") for size in (300_000, 10_000_000))
    for _ in range(32):  # each thread has buffers of its own, which stay
        assert served.ask("POST", "/api/upload", headers, small)[0] == 201
    before = served.memory()
    for _ in range(4):
        assert served.ask("POST", "/api/upload", headers, large)[0] == 201
    assert served.memory() - before < 9 * 1024  # KiB: less than one body, whatever the allocator keeps at first


def test_what_was_answered_with_201_outlives_a_kill(
    tmp_path: Path, auth: str, as_user: AsUser, any_storage: dict[str, str]
) -> None:
    served, headers = Served(tmp_path, auth, **any_storage), as_user()
    drafts = tmp_path / ("drafts" if any_storage else "uploads/tmp")
    try:
        post = headers | {"Content-Type": samples.MULTIPART}
        paths = [served.ask("POST", "/api/upload", post, samples.form())[1]["data"]["path"] for _ in range(3)]
        half_way = begin(served, head(headers, "Content-Length: 3000300") + samples.form(samples.pdf(99_999), "a.pdf"))
        wait_until(served.drafts)
        os.kill(served.worker(), signal.SIGKILL)
        half_way.close()
        assert len(served.ask("GET", "/api/uploads", headers)[1]["data"]) == 3
        assert not list(drafts.iterdir())
        connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
        for path in paths:
            connection.request("GET", path)
            assert connection.getresponse().read() == samples.png()
        connection.close()
    finally:
        served.stop()


def test_a_resumable_upload_outlives_a_kill(tmp_path: Path, auth: str, as_user: AsUser) -> None:
    served, ann, data = Served(tmp_path, auth), as_user() | SPEAKS, samples.pdf(3_000_000)
    try:
        about = {"Upload-Length": str(len(data)), "Upload-Metadata": metadata(filename="a.pdf")}
        url = served.answer("POST", PATH, ann | about)["Location"]
        part = ann | {"Content-Type": PART, "Content-Length": str(len(data)), "Upload-Offset": "0"}
        lines = [f"PATCH {url} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in part.items())]
        half_way = begin(served, "\r\n".join([*lines, "", ""]).encode() + data[:1_000_000])
        begun = tmp_path / "tus" / url.rsplit("/")[-1]
        wait_until(lambda: begun.exists() and begun.stat().st_size >= 900_000)
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        half_way.close()
        offset = int(served.answer("HEAD", url, ann)["Upload-Offset"])
        assert 900_000 <= offset == begun.stat().st_size <= 1_000_000
        rest = part | {"Upload-Offset": str(offset), "Content-Length": str(len(data) - offset)}
        assert served.answer("PATCH", url, rest, data[offset:])["Upload-Offset"] == str(len(data))
        [known] = served.ask("GET", "/api/uploads", ann)[1]["data"]
        assert known["sha256"] == hashlib.sha256(data).hexdigest()
    finally:
        served.stop()
