"""Ask an outside host over HTTPS: the address that was checked is the one that is dialled."""

import io
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from http.client import HTTPException, HTTPResponse, responses
from threading import Timer
from typing import Any

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOut

from services.gateway.addresses import is_public
from services.gateway.dialing import Dial, dial, seconds_left, try_each
from shared.addresses import Address
from shared.concurrency import Bulkhead
from shared.event_loop import yield_if_due
from shared.name_lookup import NameLookup
from shared.problems import Problem, reason
from shared.tls import client_context

Headers = list[tuple[str, str]]
TOTAL = 10.0  # seconds for everything, from the name to the last byte
LOOKUP_TIMEOUT = 5.0  # seconds for the name
CONNECT_TIMEOUT = 3.0  # seconds for one of several addresses
MAX_ANSWER = 5 * 1024 * 1024
MAX_HEAD = 64 * 1024
MAX_AT_ONCE = 32
MAX_OF_ONE = 8  # so that a user who asks slow hosts leaves places to the others
MAX_OF_HOST = 16  # so that a slow host leaves places to the others
LOOKUP_THREADS = 16
LOOKUPS_OF_ONE = 4
MAX_ADDRESSES = 4
BLOCK = 64 * 1024
PORT = 443
USER_AGENT = "Postern (outside proxy)"
REDIRECTS = frozenset((301, 302, 303, 307, 308))
# All that an outside host learns of a request; never who asks.
SENT = frozenset((
    "accept", "accept-language", "content-type", "if-match", "if-modified-since", "if-none-match",
    "if-unmodified-since",
))  # fmt: skip
RETURNED = frozenset(("content-type", "cache-control", "etag", "last-modified"))
ISOLATION = [
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
]
_is_header_value = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_logger = logging.getLogger("postern.outside")

Resolve = Callable[[str, float, str], Sequence[Address]]


class InvalidAnswer(Exception):
    """The host's bytes are no answer that may be passed back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an outside host said, whole; only the headers that may come back."""

    status: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to an outside host."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


# Only when it is used: to read all the authorities takes half of a start.
_default_context = cache(client_context)


class Outside:
    """The outside hosts that may be asked: 32 requests at once, 8 of one user and 16 to one host.

    `hosts` are names in lower case, and nothing else is ever resolved. `resolve`, `connect` and `context` are
    exchanged in tests only; what is dialled has been checked whatever they are.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        resolve: Resolve | None = None,
        connect: Dial = lambda address, seconds: dial(address, PORT, seconds),
        context: ssl.SSLContext | None = None,
        total: float = TOTAL,
    ) -> None:
        self.hosts = tuple(hosts)
        self._resolve = resolve or NameLookup(LOOKUP_THREADS, per_client=LOOKUPS_OF_ONE).addresses
        self._connect = connect
        self._context = context
        self._total = total
        bulkhead = partial(Bulkhead, patience=0, detail="Too many outside requests are under way.")
        self._users = bulkhead(None, per_client=MAX_OF_ONE)
        self._exchanges = bulkhead(MAX_AT_ONCE, per_client=MAX_OF_HOST)

    def ask(self, domain: str, method: str, target: str, headers: Headers, body: bytes, user: str) -> Answer:
        """Return the host's answer; raise DOMAIN_NOT_ALLOWED, BAD_GATEWAY, GATEWAY_TIMEOUT or SERVICE_UNAVAILABLE.

        `domain` is compared as it is written, after folding ASCII case: no other spelling of a host is understood.
        """
        host = domain.lower()
        if not domain.isascii() or host not in self.hosts:
            raise self._refusal("This host is not in the list of outside hosts.")
        request = Request(method, target, _headers_to_send(host, headers), body)
        deadline = time.monotonic() + self._total
        try:
            with self._users.place(user):
                addresses = self._addresses(host, deadline, user)
                with self._exchanges.place(host):  # not before: a name that is not resolved keeps no place
                    return self._exchange(host, addresses, request, deadline)
        except (OSError, HTTPError, HTTPException, InvalidAnswer) as error:
            if isinstance(error, TimeoutError | TimedOut) or time.monotonic() >= deadline:
                raise Problem("GATEWAY_TIMEOUT", f"{host} took too long to answer.") from error
            _logger.warning("%s could not be asked: %s", host, error)
            raise Problem("BAD_GATEWAY", f"{host} could not be reached, or sent no valid answer.") from error

    def _exchange(self, host: str, addresses: Sequence[Address], request: Request, deadline: float) -> Answer:
        context = self._context or _default_context()
        connection = PinnedConnection(host, addresses, self._connect, context, deadline)
        with connection.opened():
            with suppress(BrokenPipeError, ConnectionResetError):  # the host may have answered before the end
                connection.request(
                    request.method, request.target, request.body or None, request.headers, preload_content=False
                )
            with closing(connection.getresponse()) as response:
                headers = _checked_headers(response, host)
                body = connection.read_body(response)
        if response.status not in (204, 304):
            length = response.headers.get("Content-Length") if request.method == "HEAD" else str(len(body))
            headers += [("Content-Length", length)] if length else []
        return Answer(_status_line(response.status), headers, body)

    def _addresses(self, host: str, deadline: float, user: str) -> Sequence[Address]:
        """Return the host's addresses; raise DOMAIN_NOT_ALLOWED when but one of them is not public."""
        seconds = min(LOOKUP_TIMEOUT, seconds_left(deadline))
        addresses = list(dict.fromkeys(self._resolve(host, seconds, user)))
        closed = [address for address in addresses if not is_public(address)]
        if closed:
            _logger.warning("%s leads to %s, which is not public", host, closed[0])
            raise self._refusal("This host leads to an address that is not public.")
        return addresses[:MAX_ADDRESSES]

    def _refusal(self, detail: str) -> Problem:
        return Problem("DOMAIN_NOT_ALLOWED", detail, allowedDomains=list(self.hosts))


class PinnedConnection(HTTPSConnection):
    """One exchange with a host at addresses chosen before; one timer ends all of it, however it drips."""

    def __init__(
        self, host: str, addresses: Sequence[Address], connect: Dial, context: ssl.SSLContext, deadline: float
    ) -> None:
        super().__init__(host, PORT, ssl_context=context, timeout=seconds_left(deadline))
        self._addresses = addresses
        self._connect = connect
        self._deadline = deadline
        self._wire: socket.socket | None = None
        self._meter = _Meter()
        self.response_class = partial(_MeteredResponse, self._meter)  # type: ignore[assignment]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect, and hang up at the end of the block or when the time is over."""
        timer = Timer(seconds_left(self._deadline), self._hang_up)
        timer.daemon = True
        timer.start()
        try:
            self.connect()
            # A body that ends with the connection is whole only when TLS says so.
            self.sock.suppress_ragged_eofs = False  # type: ignore[union-attr]
            yield
        finally:
            timer.cancel()
            self.close()
            if self._wire:
                self._wire.close()

    def _new_conn(self) -> socket.socket:
        """Dial the addresses that were checked: urllib3 itself would look the name up again."""
        sock = try_each(self._addresses, self._connect, self._deadline, CONNECT_TIMEOUT)
        self._wire = sock.dup()  # TLS takes the socket over; this one stays ours during the handshake
        sock.settimeout(TOTAL)  # the timer is what ends it
        return sock

    def _hang_up(self) -> None:
        with suppress(OSError):
            if self._wire:
                self._wire.shutdown(socket.SHUT_RDWR)

    def read_body(self, response: BaseHTTPResponse) -> bytes:
        """Return the whole body; raise InvalidAnswer when it is too large."""
        body = bytearray()
        while block := response.read(BLOCK, decode_content=False):
            body += block
            self._meter.allow(len(body))
        return bytes(body)


class _Meter:
    """How many bytes of TLS a body may take: framing and trailers are bounded by the body that they carry."""

    def __init__(self) -> None:
        self._left = MAX_HEAD + BLOCK
        self._body = 0

    def count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidAnswer("the head or the framing of the answer is too large")
        yield_if_due()

    def allow(self, body: int) -> None:
        """Allow for the body as far as it has come, and for chunks that are half framing."""
        if body > MAX_ANSWER:
            raise InvalidAnswer("the answer is too large")
        self._left += 2 * (body - self._body)
        self._body = body


class _MeteredBytes(io.RawIOBase):
    """What arrives from the host, counted."""

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
    """A response whose bytes are counted, and whose interim answers are passed over."""

    def __init__(self, meter: _Meter, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_MeteredBytes(self.fp.detach(), meter), io.DEFAULT_BUFFER_SIZE)

    def begin(self) -> None:
        super().begin()
        while 101 < self.status < 200:  # RFC 9110, section 15.2; `http.client` knows 100 only
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


def _headers_to_send(host: str, headers: Headers) -> dict[str, str]:
    """Return what the host learns, nothing that tells who asks; raise BAD_REQUEST for a line in a value."""
    sent = {"host": host, "user-agent": USER_AGENT, "accept-encoding": "identity", "connection": "close"}
    sent |= {name: value for name, value in headers if name in SENT}
    if any("\r" in value or "\n" in value for value in sent.values()):
        raise Problem("BAD_REQUEST", "A header holds a line break.")
    return sent


def _checked_headers(response: BaseHTTPResponse, host: str) -> Headers:
    """Return what may come back; raise BAD_GATEWAY for a redirect and for a coding that nobody asked for."""
    if not 200 <= response.status < 600:
        raise InvalidAnswer(f"the status is {response.status}")
    if response.status in REDIRECTS:
        raise Problem("BAD_GATEWAY", f"{host} answered with a redirect, which is not followed.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("BAD_GATEWAY", f"{host} sent a compressed answer, which was not asked for.")
    if response.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise InvalidAnswer("an unknown transfer coding")
    length = response.headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise InvalidAnswer("the length is no number")
    # getlist: the first of several counts, while `get` would join them.
    returned = [(name, response.headers.getlist(name)[0]) for name in response.headers if name.lower() in RETURNED]
    if not all(_is_header_value(value) for _, value in returned):
        raise InvalidAnswer("a header has control characters")
    return returned + ISOLATION


def _status_line(status: int) -> str:
    phrase = responses.get(status, "") if status < 400 else reason(status)
    return f"{status} {phrase}"
