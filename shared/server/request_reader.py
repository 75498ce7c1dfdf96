"""Read requests with a time-out for each phase, so that a slow client costs a bounded time.

| phase | limit (`ReadTimeouts`) | then |
| --- | --- | --- |
| first byte of the first request | `head`, 10 s | the worker closes the connection |
| first byte of a later request | keep-alive: 65 s in the gateway, 75 s in services | the worker closes the connection |
| from the first byte of a head to its end | `head`, 10 s | 408 |
| body | a budget of `body`, 20 s | 408 |
| sending of a response | `write`, 30 s without progress | the connection closes |
| rest of a body that the application did not read | `SOON`, 10 ms | lingering close |
| lingering close (RFC 9112, section 9.6) | `linger`, 5 s | the connection closes |

Waiting for the body spends its budget. Each `MIN_RATE` (1024) bytes give back one second, up to 20 s. So a client that
sends 1 KiB a second goes on, and one that sends 100 bytes a second gets a 408 after 22 s.
"""

import socket
import time
from dataclasses import dataclass

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from shared.event_loop import PieceThrottle, yield_if_due
from shared.network.sockets import ClientGone
from shared.problems import Problem
from shared.server import head_parser
from shared.server.chunked_body import ChunkedReader

MAX_REST = 16 * 1024 * 1024  # bytes of an unread body that are read and dropped, so that the client sees the response
MIN_RATE = 1024  # least bytes per second of a body in the long run
BLOCK = 64 * 1024
MAX_CHUNKED_REST = 1024 * 1024  # the same for chunked coding, whose parsing soon costs more than a new connection
MAX_PIPELINED = 100  # pipelined requests in a row, after which the connection closes
AT_ONCE = 0.001  # seconds; a time-out of 0 would make the socket non-blocking
SOON = 0.01  # seconds, during which a thread is held
OVERDUE = 1.0  # seconds after a deadline until even bytes that have arrived are refused


@dataclass(frozen=True)
class ReadTimeouts:
    """Seconds to wait for a client."""

    head: float = 10.0  # from the first byte of a request to the end of its headers
    body: float = 20.0  # for the next bytes of a body
    write: float = 30.0  # for the client to take what is sent at once
    linger: float = 5.0  # for the client to stop sending what nobody reads


class Unreader(SocketUnreader):
    """Receive from a client with the time-out of the current phase: silence, head, body, or rest of a body."""

    def __init__(self, sock: socket.socket, patience: ReadTimeouts) -> None:
        super().__init__(sock)
        self.began = time.monotonic()
        self.waiting = False
        self.in_head = False
        self.deadline: float | None = None
        self._patience = patience
        self._budget = patience.body
        self._throttle = PieceThrottle()

    def expect_head(self, silence: float) -> None:
        """Begin the silence phase, whose end the worker enforces; the first byte begins the head phase."""
        self.began = time.monotonic()
        self.in_head = True
        self._throttle.reset()
        self.waiting = not self.buf.getvalue()
        self.deadline = self.began + (silence if self.waiting else self._patience.head)

    def read_head(self) -> bytes | None:
        """Return the next head without its empty line, None if the client closes the connection."""
        data: bytes = self.take_buffered()
        while not data or (end := head_parser.end_of_head(data)) < 0:
            more = self.chunk()
            if not more:
                return None
            data += more
        if rest := data[end + 4 :]:
            self.unread(rest)
        return data[:end]

    def expect_body(self) -> None:
        self.in_head = False
        self.deadline = None
        self._throttle.reset()
        self._budget = self._patience.body
        self.sock.settimeout(self._patience.write)

    def expect_rest(self) -> None:
        self.deadline = time.monotonic() + SOON

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Return `size` bytes, fewer only at the end; gunicorn would read ahead and copy the surplus at each read."""
        data: bytes = super().read(size, None if size else read_ahead)
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, empty at the end; raise REQUEST_TIMEOUT or ClientGone."""
        if not self.in_head:  # a head is short: yielding would only delay clients that cost little
            yield_if_due()
        self._throttle.wait()
        started = time.monotonic()
        allowed = self._budget if self.deadline is None else self.deadline - started
        if allowed < -OVERDUE and not self.waiting:
            raise Problem("REQUEST_TIMEOUT")
        self.sock.settimeout(None if self.waiting else max(allowed, AT_ONCE))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise Problem("REQUEST_TIMEOUT") from None
        except OSError as error:
            raise ClientGone from error
        finally:
            self.sock.settimeout(self._patience.write)
        self._note(len(data), time.monotonic() - started)
        return data

    def _note(self, size: int, waited: float) -> None:
        if self.waiting:
            self.waiting = False
            self.began = time.monotonic()
            self.deadline = self.began + self._patience.head
        self._throttle.note(size)
        # Only waiting counts, not the time that the application takes between two reads.
        self._budget = min(self._patience.body, self._budget - waited + size / MIN_RATE)


class WholeBody(Body):
    """A request body; reading raises Problem if it is cut off, too slow or malformed chunked coding."""

    def __init__(self, request: "Request", length: int | None, held_back: bool) -> None:
        unreader = request.unreader
        is_chunked = length is None
        super().__init__(
            ChunkedReader(unreader, request.check_trailers) if is_chunked else LengthReader(unreader, length)
        )
        self.max_rest = MAX_CHUNKED_REST if is_chunked else MAX_REST
        self._request = request
        self.held_back = held_back  # the client waits for 100 Continue (RFC 9110, section 10.1.1)

    @property
    def complete(self) -> bool:
        """Return whether all of it was read from the connection."""
        if isinstance(self.reader, ChunkedReader):
            return self.reader.complete
        return not self.reader.length

    def _read_reader(self, size: int) -> bytes:
        expected = min(size, self.reader.length) if isinstance(self.reader, LengthReader) else 0
        try:
            if self.held_back:
                self.held_back = False
                self._request.unreader.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            data: bytes = super()._read_reader(size)
        except Problem:
            self._request.force_close()
            raise
        except OSError as error:
            raise self._broken("The body broke off.") from error
        if len(data) < expected:
            raise self._broken("The body is shorter than its Content-Length.")
        return data

    def _broken(self, detail: str) -> Problem:
        self.failed = True
        self._request.force_close()
        return Problem("BAD_REQUEST", detail)


class Request:
    """A request; if its head is refused, the attributes parsed before stay set."""

    body: WholeBody

    def __init__(self, unreader: Unreader) -> None:
        self.unreader = unreader
        self.method = self.uri = self.path = self.query = ""
        self.fields: head_parser.Fields = {}
        self.must_close = False

    def parse(self, head: bytes) -> None:
        """Set the attributes from a head; raise Problem if it is malformed or not supported."""
        line, _, block = head.decode("latin-1").removeprefix(head_parser.CRLF).partition(head_parser.CRLF)
        try:
            self.method, target, self.version = head_parser.parse_line(line)
            self.uri, host = head_parser.split_absolute(target)
            self.path, self.query = head_parser.path_and_query(self.uri)
            self.fields = head_parser.parse_fields(block)
        except Problem:
            self.fields = head_parser.origin_in(block)
            raise
        head_parser.check_host(self.fields, self.version)
        if host:
            self.fields["HTTP_HOST"] = host
        held_back = head_parser.expects_continue(self.fields, self.version)
        self.body = WholeBody(self, head_parser.body_length(self.fields, self.version), held_back)
        self.must_close = head_parser.is_last(self.method, self.fields, self.version)

    def check_trailers(self, block: bytes) -> None:
        """Validate the trailers of a chunked body, which are then dropped; raise Problem."""
        head_parser.check_trailers(block.decode("latin-1"))

    def should_close(self) -> bool:
        """Return whether the connection closes after the response, also if a body held back may still come."""
        return self.must_close or (self.body.held_back and not self.body.complete)

    def force_close(self) -> None:
        self.must_close = True


class Parser:
    """Yield the requests of one connection."""

    def __init__(self, sock: socket.socket, patience: ReadTimeouts, keepalive: float) -> None:
        self.unreader = Unreader(sock, patience)
        self.patience = patience
        self.request: Request | None = None
        self.answered = 0
        self.pipelined = 0  # requests in a row that began before the response to the one before
        self._keepalive = keepalive
        self._body: WholeBody | None = None

    def __iter__(self) -> "Parser":
        return self

    def __next__(self) -> Request:
        if (self.request and self.request.should_close()) or not self.finish_body():
            raise StopIteration
        self.unreader.expect_head(self._keepalive if self.answered else self.patience.head)
        self.pipelined = 0 if self.unreader.waiting else self.pipelined + 1
        self.request = self._body = None
        head = self.unreader.read_head()
        if head is None:
            raise StopIteration
        self.request = request = Request(self.unreader)
        request.parse(head)
        self._body = request.body
        self.unreader.expect_body()
        self.answered += 1
        return request

    @property
    def unread(self) -> bool:
        """Return whether the client may still send bytes that nobody reads."""
        return self.pipelines_too_many or (self._body is not None and not self._body.complete)

    @property
    def pipelines_too_many(self) -> bool:
        """Return whether the connection closes because the client pipelines without a pause while others wait."""
        return self.pipelined >= MAX_PIPELINED

    def finish_body(self) -> bool:
        """Drop the rest of a body, within time and size limits; return False if the connection cannot be kept alive."""
        if self._body is None or self._body.complete:
            return True
        if self._body.failed or self._body.held_back:
            return False
        self.unreader.expect_rest()
        try:
            for _ in range(self._body.max_rest // BLOCK):
                if not self._body.read(BLOCK):
                    return True
        except Problem:
            pass
        return False
