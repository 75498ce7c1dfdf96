"""Read requests from clients that may be silent, slow or wrong, and give each only so much time."""

import re
import socket
import time
from dataclasses import dataclass
from typing import Any

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import ParseException, UnsupportedTransferCoding
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from shared.problems import Problem

MAX_LINE = 8190  # bytes of the request line
MAX_HEADERS = 100
MAX_HEADER = 8190  # bytes of one header
MAX_HEAD = 32 * 1024  # bytes of all headers
MAX_REST = 16 * 1024 * 1024  # bytes of a refused body that are read and dropped, so that the answer is seen
MIN_RATE = 1024  # bytes per second that a body has to keep up in the long run
BLOCK = 64 * 1024
_may_be_host = re.compile(r"[\w.~!$&'()*+,;=:%\[\]-]*", re.ASCII).fullmatch  # RFC 3986, section 3.2.2
AT_ONCE = 0.001  # seconds; a time-out of 0 would mean another mode of the socket
SOON = 0.01  # seconds for what is left of a body, during which a thread is held; then the connection lingers


@dataclass(frozen=True)
class Patience:
    """Seconds that a client is waited for."""

    head: float = 10.0  # from the first byte of a request to the end of its headers
    body: float = 20.0  # for the next bytes of a body
    write: float = 30.0  # for the client to take what is sent at once
    linger: float = 5.0  # for the client to stop sending what nobody reads


class Unreader(SocketUnreader):
    """Receive from a client under the clock of the part that is expected: silence, head, body, or a rest to drop."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        super().__init__(sock)
        self.request: Request | None = None
        self.began = time.monotonic()
        self.waiting = False
        self.in_head = False
        self._patience = patience
        self._deadline: float | None = None
        self._budget = patience.body

    def expect_head(self, silence: float) -> None:
        """Wait for the first byte for `silence` seconds, then give the head its own time."""
        self.request = None
        self.began = time.monotonic()
        self.in_head = True
        self.waiting = not self.buf.getvalue()
        self._deadline = self.began + (silence if self.waiting else self._patience.head)

    def expect_body(self) -> None:
        self.in_head = False
        self._deadline = None
        self._budget = self._patience.body
        self.sock.settimeout(self._patience.write)

    def expect_rest(self) -> None:
        self._deadline = time.monotonic() + SOON

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Return so many bytes, fewer only at the end; gunicorn would read ahead and copy the surplus at each read."""
        data: bytes = super().read(size, None if size else read_ahead)
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, none at the end; raise REQUEST_TIMEOUT."""
        started = time.monotonic()
        allowed = self._budget if self._deadline is None else self._deadline - started
        self.sock.settimeout(max(allowed, AT_ONCE))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            if self.waiting:
                return b""
            raise Problem("REQUEST_TIMEOUT") from None
        finally:
            self.sock.settimeout(self._patience.write)
        self._note(len(data), time.monotonic() - started)
        return data

    def _note(self, size: int, waited: float) -> None:
        if self.waiting:
            self.waiting = False
            self.began = time.monotonic()
            self._deadline = self.began + self._patience.head
        # Only waiting counts, not the time that the application takes between two reads.
        self._budget = min(self._patience.body, self._budget - waited + size / MIN_RATE)


class WholeBody(Body):
    """A body that is refused as a Problem when it breaks off, drips or is not valid chunked coding."""

    def __init__(self, request: Request, reader: Any, held_back: bool) -> None:
        super().__init__(reader)
        self._request = request
        self.held_back = held_back  # by a client that waits for 100 Continue (RFC 9110, section 10.1.1)

    @property
    def complete(self) -> bool:
        """Tell whether nothing of it is left on the connection."""
        if isinstance(self.reader, ChunkedReader):
            return self.reader.parser is None
        return not self.reader.length

    def _read_reader(self, size: int) -> bytes:
        if self.held_back:
            self.held_back = self._request.must_close = False
            self._request.unreader.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        expected = min(size, self.reader.length) if isinstance(self.reader, LengthReader) else 0
        try:
            data: bytes = super()._read_reader(size)
        except Problem:
            self._request.force_close()
            raise
        except ParseException as error:
            raise self._broken("The chunked coding of the body is not valid.") from error
        except OSError as error:
            raise self._broken("The body broke off.") from error
        if len(data) < expected:
            raise self._broken("The body is shorter than its Content-Length.")
        return data

    def _broken(self, detail: str) -> Problem:
        self.failed = True
        self._request.force_close()
        return Problem("BAD_REQUEST", detail)


class StrictRequest(Request):
    """A request with a bound on all its headers together, and with a Host (RFC 9112, section 3.2)."""

    body: Any
    _expected_100_continue: bool

    def parse(self, unreader: Unreader) -> bytes:
        unreader.request = self
        self.max_buffer_headers = MAX_HEAD
        unread: bytes = super().parse(unreader)
        hosts = [value for name, value in self.headers if name == "HOST"]
        if not (hosts or self.version < (1, 1)) or not all(map(_may_be_host, hosts)):
            raise Problem("BAD_REQUEST", "A request of HTTP/1.1 needs the header Host, which names a host and a port.")
        return unread

    def _peer_is_trusted_proxy(self) -> bool:
        """Trust no peer; the gateway itself reads what proxies say. gunicorn would parse its address each time."""
        return False

    def set_body_reader(self) -> None:
        super().set_body_reader()
        codings = [value for name, value in self.headers if name == "TRANSFER-ENCODING"]
        if codings and ",".join(codings).lower() != "chunked":
            raise UnsupportedTransferCoding(codings)
        self.body = WholeBody(self, self.body.reader, self._expected_100_continue)
        if self._expected_100_continue and not self.body.complete:
            self.force_close()  # an answer without it ends the conversation, and says so
        self._expected_100_continue = False  # gunicorn would say it before anybody has looked at the head


class Parser(RequestParser):
    """Yield the requests of one connection: the first has to begin soon, a later one within the keep-alive time."""

    mesg_class = StrictRequest

    def __init__(self, cfg: Any, sock: socket.socket, address: Any, patience: Patience) -> None:
        super().__init__(cfg, sock, address)
        self.unreader = Unreader(sock, patience)
        self.patience = patience

    def __next__(self) -> Request:
        if not self.finish_body():
            raise StopIteration
        self.unreader.expect_head(self.cfg.keepalive if self.req_count else self.patience.head)
        request = super().__next__()
        self.unreader.expect_body()
        return request

    @property
    def unread(self) -> bool:
        """Tell whether the client may still be sending something that nobody reads."""
        return self.mesg is not None and not self.mesg.body.complete

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Read and drop the rest of a body, within bounds; False when the connection cannot be used any more."""
        if not self.unread:
            return True
        if self.mesg.body.failed or self.mesg.body.held_back:
            return False
        self.unreader.expect_rest()
        try:
            for _ in range(MAX_REST // BLOCK):
                if not self.mesg.body.read(BLOCK):
                    return True
        except Problem:
            pass
        return False


def head_is_decided(head: bytes | bytearray) -> bool:
    """Tell whether the parser can take the head, or refuse it, without reading more."""
    if b"\r\n\r\n" in head or head.count(b"\n") != head.count(b"\r\n"):
        return True
    return len(head) > MAX_LINE + 4 and head.find(b"\r\n", 2) < 0
