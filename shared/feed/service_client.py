"""An HTTP client for calls between services, which carry INTERNAL_TOKEN."""

import socket
from typing import Any

import orjson
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from werkzeug.http import parse_date

from shared import clock
from shared.network import dialing

BATCH = 500  # facts in one response of a feed
_DATE = "Date"  # of a response
_CONNECT_TIMEOUT = 1.0  # seconds
_TIMEOUT = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=5)


class GoneError(OSError):
    """The service answered 410; `content` is its JSON."""

    def __init__(self, content: Any) -> None:
        super().__init__("it is gone")
        self.content = content


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect as the proxy does; urllib3 asks the resolver even for an address, and others may keep it busy."""
        try:
            sock = dialing.connect(self.host, self.port, _CONNECT_TIMEOUT)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "it was not connected in time") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class InternalClient:
    """JSON requests to another service over a connection pool; OSError for any failure, also a status of no success."""

    def __init__(self, url: str, token: str = "") -> None:
        self._pool = urllib3.connection_from_url(url, maxsize=2, timeout=_TIMEOUT, retries=False)
        self._pool.ConnectionCls = _SecureConnection if self._pool.scheme == "https" else _Connection
        self.seconds_ahead = 0.0  # how far our clock is ahead of the other service's, by its last Date header
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get_json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Return the JSON of the response; raise GoneError for a 410, OSError for another failure."""
        response = self._request("GET", path, fields=query, headers=self._headers)
        try:
            content = orjson.loads(response.data)
        except ValueError as error:
            raise OSError(f"{self._pool.host}:{self._pool.port}{path} answered no JSON") from error
        if response.status == 410:
            raise GoneError(content)
        return content

    def post_json(self, path: str, data: Any) -> None:
        headers = self._headers | {"Content-Type": "application/json"}
        self._request("POST", path, body=orjson.dumps(data), headers=headers)

    def _request(self, method: str, path: str, **details: Any) -> urllib3.BaseHTTPResponse:
        try:
            response = self._pool.request(method, path, **details)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{self._pool.host}:{self._pool.port} did not answer: {type(error).__name__}") from error
        if date := parse_date(response.headers.get(_DATE)):
            self.seconds_ahead = (clock.now() - date).total_seconds()
        if response.status not in (200, 204, 410):
            raise OSError(f"{self._pool.host}:{self._pool.port}{path} answered {response.status}")
        return response
