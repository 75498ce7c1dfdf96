"""Call a WSGI application as a server would, and keep its answer exactly as it was given."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson


@dataclass
class Response:
    """Status, headers and body of an answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass
class WsgiClient:
    """A client without a network; `target` goes into the environment as it is."""

    app: Callable[..., Iterable[bytes]]
    address: str = "192.0.2.1"

    def get(self, target: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("GET", target, headers)

    def post(self, target: str, body: bytes, headers: dict[str, str] | None = None) -> Response:
        return self.request("POST", target, headers, body)

    def request(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        environ = self.environ(method, target, headers or {}, body)
        started: list[Any] = []
        iterable = self.app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
        try:
            content = b"".join(iterable)
        finally:
            if close := getattr(iterable, "close", None):
                close()
        status, answered = started[-1]
        return Response(int(status[:3]), answered, content)

    def environ(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> dict[str, Any]:
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "RAW_URI": target,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "gateway",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.address,
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.input_terminated": True,
            "wsgi.errors": io.StringIO(),
            "HTTP_HOST": "gateway.test",
        }
        if body is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        return environ
