"""Fetch a shareable response from a service and build its cache entry."""

import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from services.gateway.cache import policy
from services.gateway.cache.store import MAX_OBJECT, Entry
from services.gateway.http.headers import Headers, wire_name
from services.gateway.request_context import Environ
from shared.problems import Problem

# Headers of a 304 (RFC 9110, section 15.4.5).
HEADERS_OF_304 = frozenset(("cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified"))

BODY_TIMEOUT = 5.0  # seconds that coalesced requests wait for the body; then each request fetches its own
# Headers between service and cache; clients do not get them.
CACHE_HEADERS = frozenset(("cache-control", "cache-tag", "cdn-cache-control", "view-of"))


@dataclass(slots=True)
class FetchedResponse:
    """A response of the service; its body may still be on its way."""

    status: str
    headers: Headers
    body: Iterable[bytes]

    def close(self) -> None:
        if close := getattr(self.body, "close", None):
            close()


@dataclass(frozen=True, slots=True)
class Stored:
    """The service's response is in the store; all coalesced requests share it."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class NotCacheable:
    """The response is for the request that fetched it; each of the others fetches its own."""

    response: FetchedResponse


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable response: serve `stale` if set (stale-if-error, RFC 5861, section 4), otherwise raise `problem`."""

    problem: Problem
    stale: Entry | None


FillResult = Stored | NotCacheable | Failed


def shared_request(environ: Environ, old: Entry | None, selecting: Container[str]) -> Environ:
    """Return the WSGI environment of a request whose response may be shared between clients.

    Of the client's headers, only those in `selecting` stay. The validators of the old entry make it conditional. It
    counts as a prefetch, so that the service counts no view: the gateway reports a view for each client.
    """
    asked = {key: value for key, value in environ.items() if key[:5] != "HTTP_" or wire_name(key) in selecting}
    asked.pop("CONTENT_LENGTH", None)
    asked.pop("CONTENT_TYPE", None)
    asked["REQUEST_METHOD"] = "GET"
    asked["HTTP_SEC_PURPOSE"] = "prefetch"
    asked["postern.shared"] = True  # goes on if the client disconnects, since other requests wait for the response
    if old and old.etag:
        asked["HTTP_IF_NONE_MATCH"] = old.etag
    elif old and (modified := policy.value_of(old.headers, "last-modified")):
        asked["HTTP_IF_MODIFIED_SINCE"] = modified
    return asked


def read_body(response: FetchedResponse) -> bytes | None:
    """Return the whole body; None if it is too large or too slow, and can still be read from its beginning.

    Raises OSError if the connection to the service breaks.
    """
    pieces: list[bytes] = []
    rest = iter(response.body)
    size = 0
    deadline = time.monotonic() + BODY_TIMEOUT
    for piece in rest:
        pieces.append(piece)
        size += len(piece)
        if size > MAX_OBJECT or time.monotonic() > deadline:
            response.body = _Rest(pieces, rest, response.body)
            return None
    response.close()
    return b"".join(pieces)


class _Rest:
    """The blocks that were read, then the rest of the body."""

    def __init__(self, pieces: list[bytes], rest: Iterator[bytes], body: Iterable[bytes]) -> None:
        self._pieces = chain(pieces, rest)
        self.close = getattr(body, "close", pieces.clear)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def make_entry(
    target: str,
    environ: Mapping[str, Any],
    response: FetchedResponse,
    body: bytes,
    lifetimes: policy.CacheLifetimes,
    tags: frozenset[str],
    rules: policy.Rules,
    now: float,
) -> Entry:
    headers = [item for item in rules.outward(response.headers) if item[0].lower() not in ("content-length", "age")]
    names = tuple("HTTP_" + name.upper().replace("-", "_") for name in lifetimes.names)
    born = now - lifetimes.age
    fresh_until = born + lifetimes.lifetime
    return Entry(
        key=(target, tuple(environ.get(name) for name in names)),
        names=names,
        tags=tags,
        status=response.status,
        headers=[*headers, ("Content-Length", str(len(body)))],
        headers_of_304=[item for item in headers if item[0].lower() in HEADERS_OF_304],
        body=body,
        etag=policy.value_of(response.headers, "etag"),
        viewed=policy.value_of(response.headers, "view-of"),
        born=born,
        fresh_until=fresh_until,
        grace_until=fresh_until + lifetimes.stale_while_revalidate,
        error_until=fresh_until + lifetimes.stale_if_error,
        cache_headers=[item for item in response.headers if item[0].lower() in CACHE_HEADERS],
    )


def update_headers(old: Entry, from_304: Headers) -> Headers:
    """Return the stored headers, updated with those of a 304 response (RFC 9111, section 3.2)."""
    new = [item for item in from_304 if item[0].lower() != "content-length"]
    names = {name.lower() for name, _ in new}
    kept = [item for item in old.headers if item[0].lower() not in names | CACHE_HEADERS]
    return kept + [item for item in old.cache_headers if item[0].lower() not in names] + new
