"""Write the error response of a request that never reaches the application, so that the client can read it."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from gunicorn import util

from shared.event_loop import yield_if_due
from shared.network.sockets import ConnectionOver
from shared.problems import Problem
from shared.server.lifecycle import lifecycle_of
from shared.server.request_reader import AT_ONCE, BLOCK, MAX_REST, ReadTimeouts, Request
from shared.server.response_writer import Response, answer, environment
from shared.telemetry.request_id import WsgiApp, with_request_id

LAST_ANSWERS = 2  # seconds to send the 503 of requests that are cut off at a stop
DRAIN = signal.SIGUSR2  # makes a worker finish its requests, accept no others, and exit
PROBLEM = "postern.problem"  # in the WSGI environment of a request that the server refuses
PUBLIC_URL = "postern.public_url"  # there too
_logger = logging.getLogger("postern.server")


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with the problem; a WSGI application for services without a handler of their own."""
    path, request_id = environ["PATH_INFO"], environ["postern.request_id"]
    status, headers, body = environ[PROBLEM].answer(path, request_id, environ[PUBLIC_URL])
    start_response(status, headers)
    return [body]


def refuse(sock: socket.socket, environ: dict[str, Any], app: WsgiApp) -> None:
    """Send the application's response to the problem as the last one of the connection."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    answer = app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    try:
        body = b"".join(answer)
    finally:
        if close := getattr(answer, "close", None):
            close()
    status, headers = started[-1]
    headers += [("Date", util.http_date()), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with suppress(OSError):
        sock.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1"))
        sock.sendall(b"" if environ["REQUEST_METHOD"] == "HEAD" else body)


def environ_of(request: Request | None, peer: Any) -> dict[str, Any]:
    """Return a partial WSGI environment of a request whose head may be incomplete or malformed."""
    fields = request.fields if request else {}
    return fields | {
        "REQUEST_METHOD": request.method if request else "",
        "PATH_INFO": request.path if request else "",
        "REMOTE_ADDR": peer[0] if isinstance(peer, tuple) else "",
    }


def linger(sock: socket.socket, seconds: float) -> None:
    """Lingering close (RFC 9112, section 9.6): shut down our side, and read and drop what the client still sends."""
    deadline = time.monotonic() + seconds
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        for _ in range(MAX_REST // BLOCK):
            yield_if_due()
            left = deadline - time.monotonic()
            if left < 0:
                return
            sock.settimeout(max(left, AT_ONCE))
            if not sock.recv(BLOCK):
                return


class RefusingWorker:
    """A mixin for both workers, before gunicorn's class."""

    app: Any
    wsgi: Any
    ppid: int

    @property
    def patience(self) -> ReadTimeouts:
        patience: ReadTimeouts = self.app.patience
        return patience

    def init_signals(self) -> None:
        """Ignore SIGINT: Ctrl-C reaches the whole process group, and the master stops its workers gracefully."""
        super().init_signals()  # type: ignore[misc]
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def respond(self, request: Request, sock: socket.socket, client: Any, server: Any, *, last: bool) -> bool:
        """Send the application's response; return whether the connection is kept alive.

        Raises the application's exception if the response has not begun, otherwise ConnectionOver.
        """
        response = Response(request, sock)
        response.must_close = last
        try:
            answer(response, self.wsgi, environment(request, sock, client, server))
        except ConnectionOver:
            raise
        except Exception as error:
            if not response.begun:
                raise
            _logger.error("an answer broke off", exc_info=error)
            raise ConnectionOver from error
        return not response.should_close()

    def end_streams(self) -> None:
        """End event streams when the worker stops."""
        for end in lifecycle_of(self.wsgi).on_stop:
            end()

    def hand_over(self) -> None:
        """Call the callbacks that hand state over to the worker that replaces this one."""
        for hand_over in lifecycle_of(self.wsgi).on_drain:
            hand_over()

    def orphaned(self) -> bool:
        return self.ppid != os.getppid()

    def settle(self, error: Exception, sock: socket.socket, request: Request | None, peer: Any) -> bool:
        """Send the response to an error; return False if the client has gone.

        The application's `Lifecycle.refuse` writes it, so that it has the headers of all its responses.
        """
        if isinstance(error, StopIteration | ConnectionOver):
            return False
        problem = error if isinstance(error, Problem) else Problem("INTERNAL_ERROR")
        plain = with_request_id(tell)
        service = lifecycle_of(self.wsgi)
        environ = environ_of(request, peer) | {PUBLIC_URL: service.public_url}
        try:
            if problem.status == 500:
                _logger.error("the request failed", exc_info=error)
                refuse(sock, environ | {PROBLEM: problem}, plain)
            else:
                refuse(sock, environ | {PROBLEM: problem}, service.refuse or plain)
        except Exception as broken:
            _logger.error("the application failed at a refusal", exc_info=broken)
            refuse(sock, environ | {PROBLEM: Problem("INTERNAL_ERROR")}, plain)
        return True
