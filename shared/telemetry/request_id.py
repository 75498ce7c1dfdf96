"""Middleware that gives every request an id and a log line."""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.network.sockets import ClientGone
from shared.telemetry.json_log import log_request

CLIENT_GONE = 499  # for logs and figures, as nobody gets it
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_well_formed = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def new_request_id() -> str:
    return f"{random.getrandbits(96):024x}"  # no secret, it tells requests apart


def with_request_id(app: WsgiApp) -> WsgiApp:
    """Wrap the application: X-Request-ID is taken when well formed, else made; the answer has it too."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _well_formed(given) else new_request_id()
        environ["postern.request_id"] = request_id
        answered = [500]  # what the server says when the application raises

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answered[0] = int(status[:3])
            ours = [header for header in headers if len(header[0]) != 12 or header[0].lower() != "x-request-id"]
            ours.append(("X-Request-ID", request_id))
            return start_response(status, ours, exc_info)

        try:
            body = app(environ, start)
        except BaseException as error:
            if isinstance(error, ClientGone):
                answered[0] = CLIENT_GONE
            _LoggedBody((), environ, answered, started).close()
            raise
        return _LoggedBody(body, environ, answered, started)

    return wrapped


class _LoggedBody:
    """Pass a body on, and log the request when the server closes it."""

    def __init__(self, body: Iterable[bytes], environ: dict[str, Any], answered: list[int], started: float) -> None:
        self._body = body
        self._environ = environ
        self._answered = answered
        self._started = started

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            if close := getattr(self._body, "close", None):
                close()
        finally:
            elapsed = (time.perf_counter() - self._started) * 1000
            log_request(self._environ, self._answered[0], elapsed)
