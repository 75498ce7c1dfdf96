"""One HTTPS request to an address that was checked before, limited in time and bytes."""

import io
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPResponse
from threading import Timer
from typing import Any

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPSConnection

from shared.client_address import Address
from shared.event_loop import yield_if_due
from shared.network.dialing import Dial, seconds_left, try_each

CONNECT_TIMEOUT = 3.0  # seconds for one of several addresses
MAX_BODY = 5 * 1024 * 1024
MAX_HEAD = 64 * 1024
BLOCK = 64 * 1024
PORT = 443


class InvalidResponse(Exception):
    """The host sent no valid response, or one that is too large."""


class PinnedConnection(HTTPSConnection):
    """A connection to one of the given addresses; one timer limits the whole request, however slow single bytes are."""

    def __init__(
        self, host: str, addresses: Sequence[Address], connect: Dial, context: ssl.SSLContext, deadline: float
    ) -> None:
        super().__init__(host, PORT, ssl_context=context, timeout=seconds_left(deadline))
        self._addresses = addresses
        self._connect = connect
        self._deadline = deadline
        self._duplicate: socket.socket | None = None
        self._meter = _Meter()
        self.response_class = partial(_MeteredResponse, self._meter)  # type: ignore[assignment]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect; close the connection at the end of the block, or at the deadline."""
        timer = Timer(seconds_left(self._deadline), self._shut_down)
        timer.daemon = True
        timer.start()
        try:
            self.connect()
            # A body that ends with the connection is complete only after a TLS close_notify.
            self.sock.suppress_ragged_eofs = False  # type: ignore[union-attr]
            yield
        finally:
            timer.cancel()
            self.close()
            if self._duplicate:
                self._duplicate.close()

    def _new_conn(self) -> socket.socket:
        """Connect to the checked addresses: urllib3 would look the name up again (DNS rebinding)."""
        sock = try_each(self._addresses, self._connect, self._deadline, CONNECT_TIMEOUT)
        self._duplicate = sock.dup()  # TLS wraps the socket; the duplicate is for the timer during the handshake
        sock.settimeout(self.timeout)  # the timer may end it before
        return sock

    def _shut_down(self) -> None:
        with suppress(OSError):
            if self._duplicate:
                self._duplicate.shutdown(socket.SHUT_RDWR)

    def read_body(self, response: BaseHTTPResponse) -> bytes:
        """Return the whole body; raise InvalidResponse if it is too large."""
        body = bytearray()
        while block := response.read(BLOCK, decode_content=False):
            body += block
            self._meter.allow(len(body))
        return bytes(body)


class _Meter:
    """A limit on received bytes: framing and trailers may take no more than twice the body."""

    def __init__(self) -> None:
        self._left = MAX_HEAD + BLOCK
        self._body = 0

    def count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidResponse("the head or the framing of the answer is too large")
        yield_if_due()

    def allow(self, body: int) -> None:
        """Raise the limit for the body received so far, and as much framing."""
        if body > MAX_BODY:
            raise InvalidResponse("the answer is too large")
        self._left += 2 * (body - self._body)
        self._body = body


class _MeteredBytes(io.RawIOBase):
    """The received bytes, counted."""

    def __init__(self, raw: Any, meter: _Meter) -> None:
        self._raw = raw
        self._meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._raw.readinto(buffer)
        self._meter.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _MeteredResponse(HTTPResponse):
    """A response whose bytes are counted, and which skips interim responses."""

    def __init__(self, meter: _Meter, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_MeteredBytes(self.fp.detach(), meter), io.DEFAULT_BUFFER_SIZE)

    def begin(self) -> None:
        super().begin()
        while 101 < self.status < 200:  # RFC 9110, section 15.2; `http.client` knows 100 only
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
