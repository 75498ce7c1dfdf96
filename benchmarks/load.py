"""Send one HTTP request again and again over some connections that stay open, whole answers only."""

import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

CHUNK = 1 << 16


class Request(NamedTuple):
    """The bytes of a request, the status that its answer has, and other bytes that are sent in turn with them."""

    content: bytes
    status: int = 200
    others: Sequence[bytes] = ()


class _Connection:
    def __init__(self, port: int, request: Request, contents: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._contents = contents
        self._answer = b""

    def send(self) -> None:
        self.socket.sendall(next(self._contents))

    def receive(self) -> bool:
        """Take what has come; tell whether the answer is whole."""
        received = self.socket.recv(CHUNK)
        self._answer += received
        if not received:
            raise ConnectionError(f"cut off: {self._answer[:200]!r}")
        if not _is_whole(self._answer):
            return False
        if self._answer[9:12] != str(self._request.status).encode():
            raise ValueError(f"unexpected answer: {self._answer[:600]!r}")
        self._answer = b""
        return True


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    _, known, length = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= int(length.partition(b"\r\n")[0]) if known else body.endswith(b"0\r\n\r\n")


def http(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def load(port: int, request: Request, seconds: float, connections: int) -> int:
    """Send for so long over so many connections, each one request at a time; return how many were answered."""
    contents = cycle((request.content, *request.others))
    clients = [_Connection(port, request, contents) for _ in range(connections)]
    answered, until = 0, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        while selector.get_map():
            for key, _ in selector.select(30):
                if not key.data.receive():
                    continue
                answered += 1
                if time.monotonic() < until:
                    key.data.send()
                else:
                    selector.unregister(key.fileobj)
    for client in clients:
        client.socket.close()
    return answered
