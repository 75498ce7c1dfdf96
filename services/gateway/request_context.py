"""What the layers find out about a request, one after the other, and how they read the WSGI environment."""

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
from shared.identity.credentials import Identity
from shared.problems import Problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
KEY = "postern.context"


@dataclass(slots=True)
class RequestContext:
    """What is known about a request; `refusal` is why it will be refused, `extra` goes on its answer.

    `body` is that of a form which had to be read to find the route.

    `cookie_refusal` is why the cookie of a stranger proves nobody, for routes that need a user.
    `waited` are the seconds until an upstream's answer began, `sent` says whether it was asked at all, and `deadline`
    is when it must have answered, where the request has waited already. `verdict` is what the cache did.
    """

    address: str
    private: bool
    extra: Headers
    path: str = ""
    query: str = ""
    node: Node | None = None
    route: Route | None = None
    somebody: Identity | None = None
    body: ClientBody | None = None
    refusal: Problem | None = None
    cookie_refusal: Problem | None = None
    waited: float = 0.0
    sent: bool = False
    deadline: float | None = None
    verdict: str = ""

    @property
    def counted_by(self) -> str:
        """Return the user, else the client's address, that the request counts against."""
        return self.somebody.user_id if self.somebody else limiter_key(self.address)

    @property
    def by_stranger(self) -> bool:
        """Tell whether the request has no credentials, or a cookie that proves nobody."""
        return not self.private or self.cookie_refusal is not None

    def note_sent(self) -> None:
        self.sent = True

    def time_for(self, route: Route) -> float:
        """Return for how many seconds to wait for the first byte of an answer."""
        return route.first_byte if self.deadline is None else min(route.first_byte, self.deadline - time.monotonic())

    def refuse(self, problem: Problem) -> None:
        """Note a refusal; the first one is the answer."""
        self.refusal = self.refusal or problem


def raw_target(environ: Environ) -> str:
    """Return the request target as it was sent, rebuilt where the server does not tell."""
    if raw := environ.get("RAW_URI"):
        return str(raw)
    path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
    return quote(path.encode("latin-1"), safe="/!$&'()*+,;=:@") + (f"?{query}" if query else "")


def point_at(environ: Environ, path: str) -> None:
    """Let the application see the path that was authorised, and no other reading of it."""
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
    environ["SCRIPT_NAME"] = ""


def client_body(environ: Environ, limit: int, spool: Path | None = None) -> ClientBody | None:
    """Return the request's body with its first block read, None when there is none; all read with a folder for it."""
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
    """Return all of the body, for a page that wants it at once."""
    body = client_body(environ, limit)
    return b"" if body is None else body.first + b"".join(body.rest())


def reset_on_close(environ: Environ) -> None:
    """Let a client of HTTP/1.0, for whom the end of the connection is the end of the body, see a reset instead."""
    if client := environ.get("gunicorn.socket"):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
