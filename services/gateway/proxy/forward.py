"""Pass a request on to an upstream and stream its answer back, on plain sockets."""

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
IDLE_TIMEOUT = 30.0  # between two pieces of a body, either way
SILENCE = 60.0  # between two pieces of an event stream, which says something every 15 s


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What to send, and for how many seconds to wait for an answer; `cut` is called before a broken answer ends.

    When `client` ends its connection meanwhile, nobody goes on waiting for the upstream. It counts as one of `who`.
    `note_sent` is called before the first byte is sent. One that is `has_waited` has less than the usual time, so that
    the service is not to blame when it is over.
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
    """The answer is to an earlier request: the upstream sent one more than it was asked for."""


class UpstreamResponse(NamedTuple):
    """What came back; `body` must be closed when it has the method."""

    status: str
    headers: Headers
    body: Iterable[bytes]


def forward(
    pool: ConnectionPool,
    request: UpstreamRequest,
    breaker: CircuitBreaker | None = None,
    observe: Callable[[str, float], None] = lambda outcome, seconds: None,
) -> UpstreamResponse:
    """Return the upstream's answer; raise BAD_GATEWAY, SERVICE_UNAVAILABLE or GATEWAY_TIMEOUT, or ClientGone.

    The breaker is told how it went: a head that arrived is a success, also when the answer breaks off later.
    `observe` gets the outcome (the class of the status as in `2xx`, or the code of the problem) and the seconds.
    """
    started, outcome = time.perf_counter(), "INTERNAL_ERROR"
    try:
        send = partial(_send, pool, request)
        answer = breaker.call(send, partial(_blames_service, request)) if breaker else send()
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
    """Send an idempotent request once more when the upstream went away without a byte, never after a time-out."""
    repeatable = request.method in IDEMPOTENT and (request.body is None or request.body.whole)
    try:
        return Exchange(pool, request, pool.acquire(request.who)).run()
    except ConnectionLost:
        if not repeatable:
            raise
    return Exchange(pool, request, pool.acquire(request.who, fresh=True)).run()


def _blames_service(request: UpstreamRequest, error: BaseException) -> bool:
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
        """Send the request and return the answer as soon as it may be passed on."""
        try:
            self._send()
            self._receive_start(time.monotonic() + self._request.first_byte)
            self._refuse_stray()
            if self._parser.endless and not self._parser.complete:
                self._pool.set_apart(self._connection)
        except (OSError, MalformedResponse) as error:
            self._break_off()
            if isinstance(error, ClientGone):
                raise
            raise self._problem(error) from error
        except BaseException:
            self._break_off()
            raise
        headers = from_upstream(self._parser.headers)
        if not self._parser.complete:
            return UpstreamResponse(self._parser.status_line(), headers, Stream(self))
        self.close()
        body = self._parser.take_body()
        if self._parser.length is None and body:
            headers.append(("Content-Length", str(len(body))))
        return UpstreamResponse(self._parser.status_line(), headers, [body])

    def _refuse_stray(self) -> None:
        """Refuse the answer to another request; one that ends the connection may be of a server that read no id."""
        asked, answered = self._request.id, self._parser.request_id
        if self._parser.reusable and asked and answered and asked != answered:
            raise MismatchedResponse("an answer to another request")

    def receive_more(self) -> bytes:
        """Return the next piece of the body, nothing at its end.

        Raises ConnectionOver where the upstream breaks off, so that the server cuts the client's connection
        and a part never looks like the whole; ClientGone where there is no client any more.
        """
        parser = self._parser
        try:
            while not (parser.body or parser.complete):
                self._receive(SILENCE if parser.endless else IDLE_TIMEOUT)
        except ClientGone:
            self._break_off()
            raise
        except (OSError, MalformedResponse) as error:
            self._break_off()
            if parser.endless and self._pool.stopping:
                return b""
            self._request.cut()
            _logger.warning("the %s service broke off an answer: %s", self._pool.name, error or "time-out")
            raise ConnectionOver from error
        if parser.complete:
            self.close()
        return parser.take_body()

    def close(self) -> None:
        """Give the connection back, to be used again when the exchange ended cleanly."""
        if not self._released:
            self._released = True
            clean = self._sent and self._parser.complete and self._parser.reusable
            self._pool.release(self._connection, self._request.who, reusable=clean)
            self._parser.forget()

    def _break_off(self) -> None:
        """Close the connection, also when a whole answer has come: what follows it, nobody has asked for."""
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
            pass  # closed by the upstream, perhaps after an answer

    def _send_rest(self, body: ClientBody) -> bool:
        """Send the blocks after the first, until the upstream answers; tell whether all were sent."""
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
        """Receive the head, and all of a short body, which is then passed on whole or not at all."""
        parser = self._parser
        while not parser.started or (not parser.complete and parser.length is not None and parser.length <= BLOCK):
            self._receive(deadline - time.monotonic())

    def _receive(self, timeout: float) -> None:
        if self._parser.heard:
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
        kind = Problem if self._parser.heard and not isinstance(error, MismatchedResponse) else ConnectionLost
        return kind("BAD_GATEWAY", f"The {name} service broke off or sent no valid answer.")


class Stream:
    """The body of an answer that is still arriving."""

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
    """Return request line and headers with the framing of the body; raise BAD_REQUEST for a line in a value."""
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
