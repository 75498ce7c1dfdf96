"""Resumable uploads with the client that browsers use, tus-js-client, on a line that is cut at random."""

import hashlib
import random
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.node import node_modules
from tests.e2e.stack import Stack
from tests.uploads import samples

PACKAGE = "tus-js-client@4.3.1"
SCRIPT = Path(__file__).parent / "tus_upload.mjs"
BLOCK = 16 * 1024


@pytest.fixture(scope="session")
def modules() -> Path:
    return node_modules(PACKAGE)


class Line:
    """A line to a port that is cut after a random number of bytes, so often."""

    def __init__(self, port: int, cuts: int, random_bytes: random.Random) -> None:
        self.cuts = cuts
        self._port = port
        self._random = random_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=(self._listener.accept()[0],), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        budget = self._random.randrange(100, 1_000_000)
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(BLOCK)
                    budget -= len(data)
                    (server if source is client else client).sendall(data)
                    if not data:
                        return
                    if self.cuts and budget < 0:
                        self.cuts -= 1
                        for end in (client, server):
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return


@pytest.fixture
def line(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Line]:
    line = Line(stack.ports["gateway"], 12, random.Random(request.param))
    yield line
    line.close()


@pytest.mark.parametrize("together", ["false", "true"])
@pytest.mark.parametrize("line, chunk", [(1, "Infinity"), (2, "700000"), (3, "150000")], indirect=["line"])
def test_a_file_arrives_whole_however_often_the_line_is_cut(
    stack: Stack, line: Line, modules: Path, tmp_path: Path, chunk: str, together: str
) -> None:
    token = stack.register()["accessToken"]
    body = samples.pdf(content=random.Random(4).randbytes(4_000_000))
    file = tmp_path / "ä report.pdf"
    file.write_bytes(body)
    command = ["node", SCRIPT, modules, f"{line.url}/api/uploads/tus", token, file, chunk, together]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert line.cuts < 12
    upload_id = done.stdout.strip().rsplit("/")[-1]
    status, answer = stack.get(f"/api/uploads/{upload_id}", token)
    assert (status, answer["data"]["filename"]) == (200, "ä report.pdf")
    assert answer["data"]["sha256"] == hashlib.sha256(body).hexdigest()
    status, answer = stack.get("/api/uploads", token)
    assert len(answer["data"]) == 1
