"""Read requests within time-outs for each phase: silent, slow and invalid clients cost a bounded time."""

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

MAX_REST = 16 * 1024 * 1024  # bytes of a refused body that are read and dropped, so that the answer is seen
MIN_RATE = 1024  # bytes per second that a body has to keep up in the long run
BLOCK = 64 * 1024
MAX_CHUNKED_REST = 1024 * 1024  # bytes of a refused body in chunks, whose framing costs more than to connect again
MAX_PIPELINED = 100  # requests in a row that a client may send before it has the answers to those before
AT_ONCE = 0.001  # seconds; a time-out of 0 would mean another mode of the socket
SOON = 0.01  # seconds for what is left of a body, during which a thread is held; then the connection lingers
OVERDUE = 1.0  # seconds after a deadline from which on even bytes that have arrived come too late


@dataclass(frozen=True)
class ReadTimeouts:
    """Seconds that a client is waited for."""

    head: float = 10.0  # from the first byte of a request to the end of its headers
    body: float = 20.0  # for the next bytes of a body
    write: float = 30.0  # for the client to take what is sent at once
    linger: float = 5.0  # for the client to stop sending what nobody reads


class Unreader(SocketUnreader):
    """Receive from a client under the clock of the part that is expected: silence, head, body, or a rest to drop."""

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
        """Wait for the first byte for `silence` seconds, at whose end the worker looks, then give the head its time."""
        self.began = time.monotonic()
        self.in_head = True
        self._throttle.reset()
        self.waiting = not self.buf.getvalue()
        self.deadline = self.began + (silence if self.waiting else self._patience.head)

    def read_head(self) -> bytes | None:
        """Return the next head without its empty line, None when the client ends the connection instead."""
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
        """Return so many bytes, fewer only at the end; gunicorn would read ahead and copy the surplus at each read."""
        data: bytes = super().read(size, None if size else read_ahead)
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, none at the end; raise REQUEST_TIMEOUT, or ClientGone."""
        if not self.in_head:  # which is short: to wait would only delay those who cost nothing
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
    """A body that is refused as a Problem when it breaks off, drips or is not valid chunked coding."""

    def __init__(self, request: "Request", length: int | None, held_back: bool) -> None:
        unreader = request.unreader
        is_chunked = length is None
        super().__init__(
            ChunkedReader(unreader, request.check_trailers) if is_chunked else LengthReader(unreader, length)
        )
        self.max_rest = MAX_CHUNKED_REST if is_chunked else MAX_REST
        self._request = request
        self.held_back = held_back  # by a client that waits for 100 Continue (RFC 9110, section 10.1.1)

    @property
    def complete(self) -> bool:
        """Tell whether nothing of it is left on the connection."""
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
    """A request; what has been found out before it is refused stays known."""

    body: WholeBody

    def __init__(self, unreader: Unreader) -> None:
        self.unreader = unreader
        self.method = self.uri = self.path = self.query = ""
        self.fields: head_parser.Fields = {}
        self.must_close = False

    def parse(self, head: bytes) -> None:
        """Take the head; raise Problem."""
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
        """Look at the trailers of a body in chunks, of which nobody makes use; raise Problem."""
        head_parser.check_trailers(block.decode("latin-1"))

    def should_close(self) -> bool:
        """Tell whether the connection ends with the answer: it does where a body that was not asked for may come."""
        return self.must_close or (self.body.held_back and not self.body.complete)

    def force_close(self) -> None:
        self.must_close = True


class Parser:
    """Yield the requests of one connection: the first has to begin soon, a later one within the keep-alive time."""

    def __init__(self, sock: socket.socket, patience: ReadTimeouts, keepalive: float) -> None:
        self.unreader = Unreader(sock, patience)
        self.patience = patience
        self.request: Request | None = None
        self.answered = 0
        self.pipelined = 0  # requests in a row whose first bytes came before the answer to the one before
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
        """Tell whether the client may still be sending something that nobody reads."""
        return self.is_rushed or (self._body is not None and not self._body.complete)

    @property
    def is_rushed(self) -> bool:
        """Tell whether the client sends so much in advance that the connection ends: others wait meanwhile."""
        return self.pipelined >= MAX_PIPELINED

    def finish_body(self) -> bool:
        """Read and drop the rest of a body, within bounds; False when the connection cannot be used any more."""
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
