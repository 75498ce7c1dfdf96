"""Ask a service for an answer that suits everybody, and make the entry that is kept of it."""

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

BRIEF = frozenset(("cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified"))

PATIENCE = 5.0  # seconds for which others wait for a long body; what takes longer each reads for itself
MARKS = frozenset(("cache-control", "cache-tag", "cdn-cache-control", "view-of"))  # stay inside


@dataclass(slots=True)
class FetchedResponse:
    """What the service says, and the rest of its body."""

    status: str
    headers: Headers
    body: Iterable[bytes]

    def close(self) -> None:
        if close := getattr(self.body, "close", None):
            close()


def for_everybody(environ: Environ, old: Entry | None, selecting: Container[str]) -> Environ:
    """Return the request as it goes to the service: of one client's headers what may select, with the ETag we have.

    It is marked as a prefetch, so that the service counts no view: the gateway knows which clients get the answer.
    """
    asked = {key: value for key, value in environ.items() if key[:5] != "HTTP_" or wire_name(key) in selecting}
    asked.pop("CONTENT_LENGTH", None)
    asked.pop("CONTENT_TYPE", None)
    asked["REQUEST_METHOD"] = "GET"
    asked["HTTP_SEC_PURPOSE"] = "prefetch"
    asked["postern.shared"] = True  # others may wait for the answer, whoever asked first
    if old and old.etag:
        asked["HTTP_IF_NONE_MATCH"] = old.etag
    elif old and (modified := policy.value_of(old.headers, "last-modified")):
        asked["HTTP_IF_MODIFIED_SINCE"] = modified
    return asked


def collect(answer: FetchedResponse) -> bytes | None:
    """Return the whole body; None when it is too large or too slow, and can still be read from its beginning.

    Raises BAD_GATEWAY for one that breaks off.
    """
    pieces: list[bytes] = []
    rest = iter(answer.body)
    size = 0
    deadline = time.monotonic() + PATIENCE
    try:
        for piece in rest:
            pieces.append(piece)
            size += len(piece)
            if size > MAX_OBJECT or time.monotonic() > deadline:
                answer.body = _Rest(pieces, rest, answer.body)
                return None
    except OSError as error:
        raise Problem("BAD_GATEWAY", "The service broke off its answer.") from error
    answer.close()
    return b"".join(pieces)


class _Rest:
    """A body of which a part has been read already."""

    def __init__(self, pieces: list[bytes], rest: Iterator[bytes], body: Iterable[bytes]) -> None:
        self._pieces = chain(pieces, rest)
        self.close = getattr(body, "close", pieces.clear)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def make_entry(
    target: str,
    environ: Mapping[str, Any],
    answer: FetchedResponse,
    body: bytes,
    terms: policy.CacheLifetimes,
    tags: frozenset[str],
    rules: policy.Rules,
    now: float,
) -> Entry:
    """Make the entry of an answer that has just come."""
    headers = [item for item in rules.outward(answer.headers) if item[0].lower() not in ("content-length", "age")]
    names = tuple("HTTP_" + name.upper().replace("-", "_") for name in terms.names)
    born = now - terms.age
    fresh_until = born + terms.lifetime
    return Entry(
        key=(target, tuple(environ.get(name) for name in names)),
        names=names,
        tags=tags,
        status=answer.status,
        headers=[*headers, ("Content-Length", str(len(body)))],
        brief_headers=[item for item in headers if item[0].lower() in BRIEF],
        body=body,
        etag=policy.value_of(answer.headers, "etag"),
        viewed=policy.value_of(answer.headers, "view-of"),
        born=born,
        fresh_until=fresh_until,
        grace_until=fresh_until + terms.while_revalidating,
        error_until=fresh_until + terms.if_error,
        marks=[item for item in answer.headers if item[0].lower() in MARKS],
    )


def renewed(old: Entry, said: Headers) -> Headers:
    """Return the stored headers with those of a 304 in place of their former values (RFC 9111, section 3.2)."""
    new = [item for item in said if item[0].lower() != "content-length"]
    names = {name.lower() for name, _ in new}
    kept = [item for item in old.headers if item[0].lower() not in names | MARKS]
    return kept + [item for item in old.marks if item[0].lower() not in names] + new
