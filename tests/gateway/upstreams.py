"""Real upstreams on real ports: one that tells what it received, and others that misbehave on purpose."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None


Behaviour = Callable[["Line"], object]


@dataclass
class Line:
    """One connection of a client, seen from the upstream."""

    socket: socket.socket
    upstream: "Upstream"
    buffered: bytes = b""

    def read_head(self) -> Received | None:
        """Read a request without its body; None when the client has closed."""
        while b"\r\n\r\n" not in self.buffered:
            if not (data := self.socket.recv(65536)):
                return None
            self.buffered += data
        head, self.buffered = self.buffered.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        request = Received(method, target, [(n, v) for n, _, v in (line.partition(": ") for line in lines)])
        self.upstream.received.append(request)
        return request

    def read(self) -> Received | None:
        """Read a whole request."""
        request = self.read_head()
        if request and (length := request.header("content-length")):
            request.body = self.take(int(length))
        elif request and request.header("transfer-encoding"):
            while size := int(self.take_line(), 16):
                request.body += self.take(size)
                self.take(2)
            self.take(2)
        return request

    def take(self, size: int) -> bytes:
        while len(self.buffered) < size:
            data = self.socket.recv(65536)
            assert data, "the body broke off"
            self.buffered += data
        taken, self.buffered = self.buffered[:size], self.buffered[size:]
        return taken

    def take_line(self) -> bytes:
        while b"\r\n" not in self.buffered:
            data = self.socket.recv(65536)
            assert data, "the body broke off"
            self.buffered += data
        line, self.buffered = self.buffered.split(b"\r\n", 1)
        return line

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_for_close(self, seconds: float = 5) -> bool:
        """Tell whether the client closes in time."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


@dataclass
class Upstream:
    """Serve each connection in a thread with the behaviour, until `close`."""

    behaviour: Behaviour
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def stop_listening(self) -> None:
        """Refuse further connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hang_up(self) -> None:
        """End the connections that are open."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stop_listening()
        self.hang_up()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(client)
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                self.behaviour(Line(client, self))
            except (OSError, AssertionError) as error:
                self.errors.append(error)


def response(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_response(data: Any, status: str = "200 OK", *headers: str) -> bytes:
    return response(orjson.dumps(data), status, "Content-Type: application/json", *headers)


def echo(line: Line) -> None:
    """Tell what was received, as JSON, on connections that are kept."""
    while request := line.read():
        told = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "size": len(request.body),
        }
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if request.method == "HEAD" else json_response(told))


def say(*pieces: bytes) -> Behaviour:
    """Answer every request with these pieces, each sent by itself, and close."""

    def behave(line: Line) -> None:
        if line.read():
            for piece in pieces:
                line.send(piece)

    return behave


def hold(*pieces: bytes) -> Behaviour:
    """Answer a request with these pieces, and leave it at that until the client closes."""

    def behave(line: Line) -> None:
        if line.read():
            for piece in pieces:
                line.send(piece)
            line.wait_for_close()

    return behave
