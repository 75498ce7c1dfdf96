"""Call the application and write its response in as few packets as possible."""

import re
import socket
import sys
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from gunicorn import util

from shared.event_loop import yield_if_due
from shared.network.sockets import ClientGone, send_all
from shared.server.head_parser import is_token
from shared.server.request_reader import Request

SERVER = "postern"
Headers = list[tuple[str, str]]
_is_status = re.compile(r"[1-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?").fullmatch
_is_text = re.compile(r"[ \t\x21-\x7e\x80-\xff]*").fullmatch  # RFC 9110, section 5.5
_ALWAYS = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environment(request: Request, sock: socket.socket, client: Any, server: Any) -> dict[str, Any]:
    """Return the WSGI environment of a request (PEP 3333)."""
    path = request.path
    return {
        **_ALWAYS,
        **request.fields,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1") if "%" in path else path,
        "QUERY_STRING": request.query,
        "RAW_URI": request.uri,
        "SERVER_PROTOCOL": f"HTTP/1.{request.version[1]}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "wsgi.errors": sys.stderr,
        "wsgi.input": request.body,
        "gunicorn.socket": sock,
    }


class Response:
    """A response: its head is sent with the first part of the body, and each write is sent at once."""

    def __init__(self, request: Request, sock: socket.socket) -> None:
        self.must_close = False
        self.begun = False
        self._request = request
        self._sock = sock
        self._status = ""
        self._headers: Headers = []
        self._length: int | None = None
        self._bodiless = self._chunked = False
        self._sent = 0

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """Set status and headers (PEP 3333); a second call needs `exc_info`, which is raised if the head was sent."""
        if exc_info and self.begun:
            raise exc_info[1]
        if self._status and not exc_info:
            raise ValueError("the answer has a status already")
        if not _is_status(status):
            raise ValueError("the status is not valid")
        self._status, self._headers = status, end_to_end(headers)
        is_empty = status[0] == "1" or status[:3] == "204"
        if is_empty:  # RFC 9110, section 8.6: it has no Content-Length either
            self._headers = [header for header in self._headers if header[0].lower() != "content-length"]
        lengths = [value for name, value in self._headers if len(name) == 14 and name.lower() == "content-length"]
        self._length = int(lengths[-1]) if lengths else None
        self._bodiless = is_empty or self._request.method == "HEAD" or status[:3] == "304"
        self._chunked = self._length is None and not self._bodiless and self._request.version >= (1, 1)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body, up to its Content-Length; drop it in a response without a body."""
        if self._bodiless:
            data = b""
        elif self._length is not None and self._sent + len(data) > self._length:
            data = data[: self._length - self._sent]
        self._sent += len(data)
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)

    def close(self) -> None:
        """End the response; if it is shorter than its Content-Length, the connection closes."""
        self._send(b"0\r\n\r\n" if self._chunked else b"")
        if self._length is not None and self._sent < self._length and not self._bodiless:
            self.must_close = True

    def should_close(self) -> bool:
        """Return whether the connection closes after the response."""
        is_framed = self._chunked or self._bodiless or self._length is not None
        return self.must_close or not is_framed or self._request.should_close()

    def _send(self, data: bytes) -> None:
        if self.begun:
            yield_if_due()
        else:
            self.begun = True
            data = self._head() + data
        if not data:
            return
        try:
            send_all(self._sock, data)
        except OSError as error:
            raise ClientGone from error

    def _head(self) -> bytes:
        lines = [
            f"HTTP/1.1 {self._status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n",
            "Connection: close\r\n" if self.should_close() else "Connection: keep-alive\r\n",
            *[f"{name}: {value}\r\n" for name, value in self._headers],
            "Transfer-Encoding: chunked\r\n\r\n" if self._chunked else "\r\n",
        ]
        return "".join(lines).encode("latin-1")


def answer(response: Response, application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> None:
    """Call the application and send its response."""
    parts = application(environ, response.start)
    try:
        for part in parts:
            response.write(part)
        response.close()
    finally:
        if close := getattr(parts, "close", None):
            close()


def end_to_end(headers: Headers) -> Headers:
    """Return the end-to-end headers; raise ValueError for control characters, which would allow header injection."""
    if not _is_text("".join([value for _, value in headers])):
        raise ValueError("the value of a header is not valid")
    if all(map(_is_kept, [name for name, _ in headers])):
        return headers
    return [(name, value.strip(" \t")) for name, value in headers if _is_kept(name)]


@lru_cache(maxsize=1024)
def _is_kept(name: str) -> bool:
    if not is_token(name):
        raise ValueError("the name of a header is not valid")
    return not util.is_hoppish(name)


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    return str(util.http_date(now))
