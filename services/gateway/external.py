"""Ask an outside host over HTTPS: the address that was checked is the one that is dialled."""

import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from services.gateway.addresses import Address, is_public
from services.gateway.answer import AnswerParser, Garbled
from services.gateway.dialing import Dial, dial, look_up, seconds_left, try_each
from services.gateway.headers import Headers
from shared.problems import Problem

TOTAL = 10.0  # seconds for everything, from the name to the last byte
CONNECT_TIMEOUT = 3.0  # seconds for one of several addresses
MAX_ANSWER = 5 * 1024 * 1024
MAX_AT_ONCE = 32
MAX_OF_ONE = 8  # so that a user who asks slow hosts leaves places to the others
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
_logger = logging.getLogger("postern.outside")

T = TypeVar("T")
Resolve = Callable[[str, float], Sequence[Address]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an outside host said, whole; only the headers that may come back."""

    status: str
    headers: Headers
    body: bytes


class Places:
    """Room for a bounded number of requests under way, of all users and of each."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, user: str) -> Iterator[None]:
        """Hold a place; raise SERVICE_UNAVAILABLE when there is none."""
        with self._lock:
            if self._taken.total() >= MAX_AT_ONCE or self._taken[user] >= MAX_OF_ONE:
                raise Problem("SERVICE_UNAVAILABLE", "Too many outside requests are under way.", retryAfter=1)
            self._taken[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= Counter((user,))  # which forgets who has none


# Only when it is used: to read all the authorities takes half of a start.
_default_context = cache(ssl.create_default_context)


class Outside:
    """The outside hosts that may be asked, at most 32 requests at once and 8 of one user.

    `hosts` are names in lower case, and nothing else is ever resolved. `resolve`, `connect` and `context` are
    exchanged in tests only; what is dialled has been checked whatever they are.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        resolve: Resolve = look_up,
        connect: Dial = lambda address, seconds: dial(address, PORT, seconds),
        context: ssl.SSLContext | None = None,
        total: float = TOTAL,
    ) -> None:
        self.hosts = tuple(hosts)
        self._resolve = resolve
        self._connect = connect
        self._context = context
        self._total = total
        self._places = Places()

    def ask(self, domain: str, method: str, target: str, headers: Headers, body: bytes, user: str) -> Answer:
        """Return the host's answer; raise DOMAIN_NOT_ALLOWED, BAD_GATEWAY, GATEWAY_TIMEOUT or SERVICE_UNAVAILABLE.

        `domain` is compared as it is written, after folding ASCII case: no other spelling of a host is understood.
        """
        host = domain.lower()
        if not domain.isascii() or host not in self.hosts:
            raise self._refusal("This host is not in the list of outside hosts.")
        try:
            with self._places.take(user):
                return self._exchange(host, method, _request(host, method, target, headers, body))
        except TimeoutError as error:
            raise Problem("GATEWAY_TIMEOUT", f"{host} took too long to answer.") from error
        except (OSError, Garbled) as error:
            _logger.warning("%s could not be asked: %s", host, error)
            raise Problem("BAD_GATEWAY", f"{host} could not be reached, or sent no valid answer.") from error

    def _exchange(self, host: str, method: str, request: bytes) -> Answer:
        deadline = time.monotonic() + self._total
        addresses = self._addresses(host, deadline)
        with try_each(addresses, self._connect, deadline, CONNECT_TIMEOUT) as sock:
            line = TlsLine(sock, self._context or _default_context(), host, deadline)
            line.send(request)
            return _checked(_receive(line, method), host)

    def _addresses(self, host: str, deadline: float) -> Sequence[Address]:
        """Return the host's addresses; raise DOMAIN_NOT_ALLOWED when but one of them is not public."""
        addresses = list(dict.fromkeys(self._resolve(host, seconds_left(deadline))))
        closed = [address for address in addresses if not is_public(address)]
        if closed:
            _logger.warning("%s leads to %s, which is not public", host, closed[0])
            raise self._refusal("This host leads to an address that is not public.")
        return addresses[:MAX_ADDRESSES]

    def _refusal(self, detail: str) -> Problem:
        return Problem("DOMAIN_NOT_ALLOWED", detail, allowedDomains=list(self.hosts))


class TlsLine:
    """TLS on a plain socket with one deadline for all that happens on it, handshake and drips included."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._do(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        """Send all; a host that stops reading may have answered already, which `receive` finds out."""
        try:
            self._do(lambda: self._tls.write(data))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> bytes:
        """Return what has arrived, nothing at an end that the host has declared; raise OSError at any other."""
        try:
            return self._do(lambda: self._tls.read(BLOCK))
        except ssl.SSLZeroReturnError:
            return b""

    def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._wait_for_more()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._sock.settimeout(seconds_left(self._deadline))
            self._sock.sendall(data)

    def _wait_for_more(self) -> None:
        self._sock.settimeout(seconds_left(self._deadline))
        if data := self._sock.recv(BLOCK):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _request(host: str, method: str, target: str, headers: Headers, body: bytes) -> bytes:
    """Return the request in bytes, with nothing that tells who asks; raise BAD_REQUEST for a line in a value."""
    sent = [
        ("host", host),
        ("user-agent", USER_AGENT),
        ("accept-encoding", "identity"),
        ("connection", "close"),
        *((name, value) for name, value in headers if name in SENT),
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        sent.append(("content-length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent)]
    if any("\r" in line or "\n" in line for line in lines):
        raise Problem("BAD_REQUEST", "A header holds a line break.")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _receive(line: TlsLine, method: str) -> AnswerParser:
    """Return the complete answer; raise Garbled when it is not valid, broke off or is too large."""
    parser = AnswerParser(method)
    received = 0
    while not parser.complete:
        if data := line.receive():
            received += len(data)
            parser.feed(data)
        else:
            parser.end()
        if received > MAX_ANSWER or (method != "HEAD" and (parser.length or 0) > MAX_ANSWER):
            raise Garbled("the answer is too large")
    return parser


def _checked(parser: AnswerParser, host: str) -> Answer:
    """Return what may come back; raise BAD_GATEWAY for a redirect and for a coding that nobody asked for."""
    given = {name.lower(): (name, value) for name, value in reversed(parser.headers)}
    if parser.status in REDIRECTS:
        raise Problem("BAD_GATEWAY", f"{host} answered with a redirect, which is not followed.")
    if given.get("content-encoding", ("", "identity"))[1].lower() != "identity":
        raise Problem("BAD_GATEWAY", f"{host} sent a compressed answer, which was not asked for.")
    body = parser.take_body()
    length = parser.length if parser.length is not None else len(body)
    parser.forget()
    headers = [header for name, header in given.items() if name in RETURNED] + ISOLATION
    if parser.status not in (204, 304):
        headers.append(("Content-Length", str(length)))
    return Answer(parser.status_line(), headers, body)
