"""An SSRF-safe HTTPS client for outside hosts: it connects to the very address that it has checked."""

import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache, partial
from http.client import HTTPException, responses

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOut

from services.gateway.outside.address_policy import is_public
from services.gateway.outside.pinned_connection import PORT, InvalidResponse, PinnedConnection
from shared.client_address import Address
from shared.concurrency import Bulkhead
from shared.network.dialing import Dial, dial, seconds_left
from shared.network.name_lookup import NameLookup
from shared.network.tls import client_context
from shared.problems import Problem, reason

Headers = list[tuple[str, str]]
TOTAL = 10.0  # seconds from the name lookup to the last byte
LOOKUP_TIMEOUT = 5.0  # seconds for the name lookup
MAX_AT_ONCE = 32
MAX_PER_USER = 8
MAX_PER_HOST = 16  # so that a slow host leaves places to the others
LOOKUP_THREADS = 16
LOOKUPS_PER_USER = 4
MAX_ADDRESSES = 4
USER_AGENT = "Postern (outside proxy)"
REDIRECTS = frozenset((301, 302, 303, 307, 308))
# The allow-list of request headers; none identifies the client.
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


@dataclass(frozen=True, slots=True)
class OutsideResponse:
    """The whole response of an outside host, with the headers of the allow-list only."""

    status: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class OutsideRequest:
    """A request with the headers of the allow-list only."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


# Loaded on first use: reading the CA certificates takes half of the start.
_default_context = cache(client_context)


class OutsideClient:
    """The client for the allowed hosts, with limits on concurrent requests in all, by user and by host.

    `hosts` are names in lower case; no other name is ever resolved. `resolve`, `connect` and `context` are replaced in
    tests only; the addresses are checked all the same.
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
        self._resolve = resolve or NameLookup(LOOKUP_THREADS, per_client=LOOKUPS_PER_USER).addresses
        self._connect = connect
        self._context = context
        self._total = total
        bulkhead = partial(Bulkhead, patience=0, detail="Too many outside requests are under way.")
        self._users = bulkhead(None, per_client=MAX_PER_USER)
        self._exchanges = bulkhead(MAX_AT_ONCE, per_client=MAX_PER_HOST)

    def ask(self, domain: str, method: str, target: str, headers: Headers, body: bytes, user: str) -> OutsideResponse:
        """Return the host's response; raise DOMAIN_NOT_ALLOWED, BAD_GATEWAY, GATEWAY_TIMEOUT or SERVICE_UNAVAILABLE.

        `domain` must be one of `hosts`, letter by letter except for ASCII case.
        """
        host = domain.lower()
        if not domain.isascii() or host not in self.hosts:
            raise self._refusal("This host is not in the list of outside hosts.")
        request = OutsideRequest(method, target, _headers_to_send(host, headers), body)
        deadline = time.monotonic() + self._total
        try:
            with self._users.place(user):
                addresses = self._addresses(host, deadline, user)
                with self._exchanges.place(host):  # after the lookup, so that a slow one occupies no place of its host
                    return self._exchange(host, addresses, request, deadline)
        except (OSError, HTTPError, HTTPException, InvalidResponse) as error:
            if isinstance(error, TimeoutError | TimedOut) or time.monotonic() >= deadline:
                raise Problem("GATEWAY_TIMEOUT", f"{host} took too long to answer.") from error
            _logger.warning("%s could not be asked: %s", host, error)
            raise Problem("BAD_GATEWAY", f"{host} could not be reached, or sent no valid answer.") from error

    def _exchange(
        self, host: str, addresses: Sequence[Address], request: OutsideRequest, deadline: float
    ) -> OutsideResponse:
        context = self._context or _default_context()
        connection = PinnedConnection(host, addresses, self._connect, context, deadline)
        with connection.opened():
            with suppress(BrokenPipeError, ConnectionResetError):  # it may respond before it has the whole request
                connection.request(
                    request.method, request.target, request.body or None, request.headers, preload_content=False
                )
            with closing(connection.getresponse()) as response:
                headers = _checked_headers(response, host)
                body = connection.read_body(response)
        if response.status not in (204, 304):
            length = response.headers.get("Content-Length") if request.method == "HEAD" else str(len(body))
            headers += [("Content-Length", length)] if length else []
        return OutsideResponse(_status_line(response.status), headers, body)

    def _addresses(self, host: str, deadline: float, user: str) -> Sequence[Address]:
        """Return the host's addresses; raise DOMAIN_NOT_ALLOWED if any of them is not public."""
        seconds = min(LOOKUP_TIMEOUT, seconds_left(deadline))
        addresses = list(dict.fromkeys(self._resolve(host, seconds, user)))
        closed = [address for address in addresses if not is_public(address)]
        if closed:
            _logger.warning("%s leads to %s, which is not public", host, closed[0])
            raise self._refusal("This host leads to an address that is not public.")
        return addresses[:MAX_ADDRESSES]

    def _refusal(self, detail: str) -> Problem:
        return Problem("DOMAIN_NOT_ALLOWED", detail, allowedDomains=list(self.hosts))


def _headers_to_send(host: str, headers: Headers) -> dict[str, str]:
    """Return the headers for the host; raise BAD_REQUEST for a line break in a value."""
    sent = {"host": host, "user-agent": USER_AGENT, "accept-encoding": "identity", "connection": "close"}
    sent |= {name: value for name, value in headers if name in SENT}
    if any("\r" in value or "\n" in value for value in sent.values()):
        raise Problem("BAD_REQUEST", "A header holds a line break.")
    return sent


def _checked_headers(response: BaseHTTPResponse, host: str) -> Headers:
    """Return the allowed headers; raise BAD_GATEWAY for a redirect or compression, or InvalidResponse."""
    if not 200 <= response.status < 600:
        raise InvalidResponse(f"the status is {response.status}")
    if response.status in REDIRECTS:
        raise Problem("BAD_GATEWAY", f"{host} answered with a redirect, which is not followed.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("BAD_GATEWAY", f"{host} sent a compressed answer, which was not asked for.")
    if response.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise InvalidResponse("an unknown transfer coding")
    length = response.headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise InvalidResponse("the length is no number")
    # getlist: the first of several counts, while `get` would join them.
    returned = [(name, response.headers.getlist(name)[0]) for name in response.headers if name.lower() in RETURNED]
    if not all(_is_header_value(value) for _, value in returned):
        raise InvalidResponse("a header has control characters")
    return returned + ISOLATION


def _status_line(status: int) -> str:
    phrase = responses.get(status, "") if status < 400 else reason(status)
    return f"{status} {phrase}"
