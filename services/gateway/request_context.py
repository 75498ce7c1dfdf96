"""The context of a request, which the middleware fills in, and access to the WSGI environment."""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from services.gateway.http.headers import Headers
from services.gateway.proxy.request_body import ClientBody, SpooledBody, content_length
from services.gateway.routes import Node, Route
from shared.client_address import limiter_key
from shared.identity.claims import Claims
from shared.problems import Problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
KEY = "postern.context"


@dataclass(slots=True)
class RequestContext:
    """The state of one request in the gateway."""

    address: str  # of the client
    private: bool  # has credentials, valid or not
    extra: Headers  # added to the response
    path: str = ""
    query: str = ""
    node: Node | None = None
    route: Route | None = None
    identity: Claims | None = None
    body: ClientBody | None = None  # read already, to find the route of an HTML form
    refusal: Problem | None = None  # raised after the request has counted against its rate limit
    cookie_refusal: Problem | None = None  # why the cookie is not accepted, for routes that need a user
    upstream_seconds: float = 0.0  # until the upstream's response started
    sent: bool = False  # the request went to an upstream
    deadline: float | None = (
        None  # monotonic time at which the response has to start, after waiting for another request
    )
    cache_result: str = ""  # the X-Cache of the response

    @property
    def rate_limit_key(self) -> str:
        """Return the key of the rate limit: the user id, otherwise the client's address."""
        return self.identity.user_id if self.identity else limiter_key(self.address)

    @property
    def is_anonymous(self) -> bool:
        """Return whether the request has no credentials, or only a cookie that is not accepted."""
        return not self.private or self.cookie_refusal is not None

    def note_sent(self) -> None:
        self.sent = True

    def time_for(self, route: Route) -> float:
        """Return the seconds to wait for the first byte of the response."""
        return route.first_byte if self.deadline is None else min(route.first_byte, self.deadline - time.monotonic())

    def refuse(self, problem: Problem) -> None:
        """Set the refusal, unless there is one already."""
        self.refusal = self.refusal or problem


def raw_target(environ: Environ) -> str:
    """Return the request target as sent, rebuilt from the path if the server does not set RAW_URI."""
    if raw := environ.get("RAW_URI"):
        return str(raw)
    path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
    return quote(path.encode("latin-1"), safe="/!$&'()*+,;=:@") + (f"?{query}" if query else "")


def set_path(environ: Environ, path: str) -> None:
    """Set the path of the WSGI environment to the one that was authorised."""
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
    environ["SCRIPT_NAME"] = ""


def client_body(environ: Environ, limit: int, spool: Path | None = None) -> ClientBody | None:
    """Return the request's body with its first block read, or None; with a folder `spool`, all of it is read."""
    length = content_length(environ.get("CONTENT_LENGTH", ""))
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if chunked and length is not None:
        raise Problem("BAD_REQUEST", "Content-Length and Transfer-Encoding exclude each other.")
    if length is None and not chunked:
        return None
    if spool:
        return SpooledBody(environ["wsgi.input"], length, limit, spool, environ["REQUEST_METHOD"] == "PATCH")
    return ClientBody(environ["wsgi.input"], length, limit)


def whole_body(environ: Environ, limit: int) -> bytes:
    """Read and return the whole body."""
    body = client_body(environ, limit)
    return b"" if body is None else body.first + b"".join(body.rest())


def reset_on_close(environ: Environ) -> None:
    """Make the connection end with a TCP reset, so that an HTTP/1.0 client does not take a part for the whole body."""
    if client := environ.get("gunicorn.socket"):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
