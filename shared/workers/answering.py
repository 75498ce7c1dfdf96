"""Begin an answer from a request, and send its head together with the first of its body."""

import socket
import sys
import time
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from gunicorn import util
from gunicorn.http import wsgi

from shared.sockets import send_all
from shared.workers.reading import Request

SERVER = "postern"
_ALWAYS = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.file_wrapper": wsgi.FileWrapper,
}


def create(
    request: Request, sock: socket.socket, client: tuple[Any, ...], server: tuple[Any, ...], cfg: Any
) -> tuple["Response", dict[str, Any]]:
    """Return the answer to a request, still empty, and the environment of the application (PEP 3333)."""
    path = request.path
    environ = {
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
        "wsgi.multiprocess": cfg.workers > 1,
        "gunicorn.socket": sock,
    }
    return Response(request, sock, cfg), environ


class Response(wsgi.Response):
    """gunicorn's response in half as many packets and system calls; every write still reaches the client at once."""

    headers_sent: bool
    _head = b""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the headers; gunicorn looks at each when one is not plain, and ignores or refuses it."""
        values = "".join([value for _, value in headers])
        if not (wsgi.HEADER_VALUE_RE.fullmatch(values) and all(map(_is_plain, [name for name, _ in headers]))):
            super().process_headers(headers)
            return
        for name, value in headers:
            if len(name) == 14 and name.lower() == "content-length":
                self.response_length = int(value)
        self.headers += headers

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [f"HTTP/1.1 {self.status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"]
            lines.append("Connection: close\r\n" if self.should_close() else "Connection: keep-alive\r\n")
            lines += [f"{name}: {value}\r\n" for name, value in self.headers]
            if self.chunked:
                lines.append("Transfer-Encoding: chunked\r\n")
            self._head = ("".join(lines) + "\r\n").encode("latin-1")
            self.headers_sent = True

    def write(self, arg: bytes) -> None:
        super().write(arg)
        self._send_head()

    def close(self) -> None:
        self.send_headers()
        self._send_head()
        super().close()

    def sendfile(self, respiter: Any) -> bool:
        self.send_headers()
        self._send_head()
        return bool(super().sendfile(respiter))

    def _emit_body(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        send_all(self.sock, head + data)

    def _send_head(self) -> None:
        """Send the head alone, when no part of the body went out with it."""
        if self._head:
            head, self._head = self._head, b""
            send_all(self.sock, head)


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    return str(util.http_date(now))


@lru_cache(maxsize=1024)
def _is_plain(name: str) -> bool:
    return bool(wsgi.TOKEN_RE.fullmatch(name)) and not util.is_hoppish(name)
