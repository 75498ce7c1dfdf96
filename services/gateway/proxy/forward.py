"""Forward a request to an upstream and stream the response back, on plain sockets."""

import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from services.gateway.http.headers import Headers, from_upstream
from services.gateway.proxy.circuit_breaker import CircuitBreaker
from services.gateway.proxy.connection_pool import ConnectionLost, ConnectionPool, UpstreamConnection
from services.gateway.proxy.request_body import BLOCK, ClientBody
from services.gateway.proxy.response_parser import MalformedResponse, ResponseParser
from shared.event_loop import PieceThrottle, yield_if_due
from shared.network.sockets import ClientGone, ConnectionOver
from shared.problems import Problem

_logger = logging.getLogger("postern.forward")
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
FAILURES = frozenset(("BAD_GATEWAY", "GATEWAY_TIMEOUT"))  # of the service, which may open its circuit breaker
IDLE_TIMEOUT = 30.0  # seconds between two pieces of a body, in both directions
STREAM_TIMEOUT = 60.0  # seconds between two pieces of an event stream, which has a heartbeat of 15 s


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request for an upstream; `first_byte` is the seconds until the response has to start.

    `cut` is called before the end of a response that is cut off. A disconnect of `client` cancels the request. `who` is
    the key of the client's concurrency limit. `note_sent` is called before the first byte is sent. A request that
    `has_waited` has less than the usual time, so its time-out does not count as a failure of the service.
    """

    method: str
    target: str
    headers: Headers
    body: ClientBody | None
    first_byte: float
    cut: Callable[[], None] = lambda: None
    client: socket.socket | None = None
    who: str = ""
    note_sent: Callable[[], None] = lambda: None
    has_waited: bool = False

    @property
    def id(self) -> str:
        return next((value for name, value in self.headers if name == "x-request-id"), "")


class MismatchedResponse(MalformedResponse):
    """The response is to an earlier request: the upstream has sent a surplus one."""


class UpstreamResponse(NamedTuple):
    """The response of an upstream; `body.close()` must be called if there is one."""

    status: str
    headers: Headers
    body: Iterable[bytes]


def forward(
    pool: ConnectionPool,
    request: UpstreamRequest,
    breaker: CircuitBreaker | None = None,
    observe: Callable[[str, float], None] = lambda outcome, seconds: None,
) -> UpstreamResponse:
    """Return the upstream's response; raise BAD_GATEWAY, SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT or ClientGone.

    For the breaker, a valid head is a success, even if the body is cut off later. `observe` gets the outcome (the class
    of the status as in `2xx`, or the code of the problem) and the seconds.
    """
    started, outcome = time.perf_counter(), "INTERNAL_ERROR"
    try:
        send = partial(_send, pool, request)
        answer = breaker.call(send, partial(_is_service_failure, request)) if breaker else send()
        outcome = f"{answer.status[0]}xx"
        return answer
    except Problem as problem:
        outcome = problem.code
        raise
    except ClientGone:
        outcome = "CLIENT_GONE"
        raise
    finally:
        observe(outcome, time.perf_counter() - started)


def _send(pool: ConnectionPool, request: UpstreamRequest) -> UpstreamResponse:
    """Send the request; retry an idempotent one once if the upstream closed the connection without a byte."""
    repeatable = request.method in IDEMPOTENT and (request.body is None or request.body.whole)
    try:
        return Exchange(pool, request, pool.acquire(request.who)).run()
    except ConnectionLost:
        if not repeatable:
            raise
    return Exchange(pool, request, pool.acquire(request.who, fresh=True)).run()


def _is_service_failure(request: UpstreamRequest, error: BaseException) -> bool:
    if isinstance(error, Problem) and error.code == "GATEWAY_TIMEOUT" and request.has_waited:
        return False
    return isinstance(error, ConnectionLost) or (isinstance(error, Problem) and error.code in FAILURES)


class Exchange:
    """One request on one connection."""

    def __init__(self, pool: ConnectionPool, request: UpstreamRequest, connection: UpstreamConnection) -> None:
        self._pool = pool
        self._request = request
        self._connection = connection
        self._parser = ResponseParser(request.method)
        self._throttle = PieceThrottle()
        self._sent = False
        self._released = False

    def run(self) -> UpstreamResponse:
        """Send the request and return the response as soon as it can be forwarded."""
        try:
            self._send()
            self._receive_start(time.monotonic() + self._request.first_byte)
            self._refuse_mismatch()
            if self._parser.is_event_stream and not self._parser.complete:
                self._pool.mark_as_stream(self._connection)
        except (OSError, MalformedResponse) as error:
            self._abort()
            if isinstance(error, ClientGone):
                raise
            raise self._problem(error) from error
        except BaseException:
            self._abort()
            raise
        headers = from_upstream(self._parser.headers)
        if not self._parser.complete:
            return UpstreamResponse(self._parser.status_line(), headers, Stream(self))
        self.close()
        body = self._parser.take_body()
        if self._parser.length is None and body:
            headers.append(("Content-Length", str(len(body))))
        return UpstreamResponse(self._parser.status_line(), headers, [body])

    def _refuse_mismatch(self) -> None:
        """Refuse a response to another request, unless it closes the connection: the server may have read no id."""
        asked, answered = self._request.id, self._parser.request_id
        if self._parser.reusable and asked and answered and asked != answered:
            raise MismatchedResponse("an answer to another request")

    def receive_more(self) -> bytes:
        """Return the next piece of the body, empty at its end.

        Raises ConnectionOver if the upstream cuts it off. The server then cuts the client's connection too, so that the
        client does not take a part for the whole. Raises ClientGone if the client has disconnected.
        """
        parser = self._parser
        try:
            while not (parser.body or parser.complete):
                self._receive(STREAM_TIMEOUT if parser.is_event_stream else IDLE_TIMEOUT)
        except ClientGone:
            self._abort()
            raise
        except (OSError, MalformedResponse) as error:
            self._abort()
            if parser.is_event_stream and self._pool.stopping:
                return b""
            self._request.cut()
            _logger.warning("the %s service broke off an answer: %s", self._pool.name, error or "time-out")
            raise ConnectionOver from error
        if parser.complete:
            self.close()
        return parser.take_body()

    def close(self) -> None:
        """Return the connection to the pool, reusable if request and response are complete."""
        if not self._released:
            self._released = True
            clean = self._sent and self._parser.complete and self._parser.reusable
            self._pool.release(self._connection, self._request.who, reusable=clean)
            self._parser.release()

    def _abort(self) -> None:
        """Close the connection, even after a complete response: surplus bytes may follow."""
        self._parser.reusable = False
        self.close()

    def _send(self) -> None:
        body = self._request.body
        self._request.note_sent()
        try:
            self._connection.send(head(self._pool.authority, self._request) + _framed_first(body), IDLE_TIMEOUT)
            self._sent = body is None or body.whole or self._send_rest(body)
        except TimeoutError:
            raise
        except OSError:
            pass  # closed by the upstream, perhaps after a response

    def _send_rest(self, body: ClientBody) -> bool:
        """Send the blocks after the first, until a response arrives; return whether all were sent."""
        for block in body.rest():
            if not self._send_block(block if body.length is not None else _chunk(block)):
                return False
        return body.length is not None or self._send_block(b"0\r\n\r\n")

    def _send_block(self, block: bytes) -> bool:
        left = memoryview(block)
        while left:
            yield_if_due()
            sent = self._connection.send_some(left, IDLE_TIMEOUT)
            left = left[sent:]
            if not sent:
                self._receive(IDLE_TIMEOUT)
                if self._parser.started:
                    return False
        return True

    def _receive_start(self, deadline: float) -> None:
        """Receive the head, and the whole of a short body, which is then forwarded whole or not at all."""
        parser = self._parser
        while not parser.started or (not parser.complete and parser.length is not None and parser.length <= BLOCK):
            self._receive(deadline - time.monotonic())

    def _receive(self, timeout: float) -> None:
        if self._parser.received_any:
            yield_if_due()
        self._throttle.wait()
        if data := self._connection.receive(timeout, self._request.client):
            self._throttle.note(len(data))
            self._parser.feed(data)
        else:
            self._parser.end()

    def _problem(self, error: OSError | MalformedResponse) -> Problem:
        name = self._pool.name
        if isinstance(error, TimeoutError):
            return Problem("GATEWAY_TIMEOUT", f"The {name} service took too long to answer.")
        kind = Problem if self._parser.received_any and not isinstance(error, MismatchedResponse) else ConnectionLost
        return kind("BAD_GATEWAY", f"The {name} service broke off or sent no valid answer.")


class Stream:
    """The body of a response that is still arriving."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.close = exchange.close

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> bytes:
        if data := self._exchange.receive_more():
            return data
        raise StopIteration


def head(authority: str, request: UpstreamRequest) -> bytes:
    """Return request line and headers with the framing of the body; raise BAD_REQUEST for a line break in a value."""
    lines = [f"{request.method} {request.target} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if framing := _framing(request):
        lines.append(framing)
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise Problem("BAD_REQUEST", "A header holds a line break.")
    return text.encode("latin-1") + b"\r\n\r\n"


def _framing(request: UpstreamRequest) -> str:
    body = request.body
    if body is None:
        return "content-length: 0" if request.method in ("POST", "PUT", "PATCH") else ""
    if body.length is None and not body.whole:
        return "transfer-encoding: chunked"
    return f"content-length: {len(body.first) if body.length is None else body.length}"


def _framed_first(body: ClientBody | None) -> bytes:
    if body is None:
        return b""
    return body.first if body.length is not None or body.whole else _chunk(body.first)


def _chunk(block: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(block), block)
