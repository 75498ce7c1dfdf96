"""The response cache: serve stored responses, coalesce identical misses, and invalidate after writes.

A cache fill has one of three results (`FillResult` in `fill.py`):

| result | the request that fetched | the requests that wait for it |
| --- | --- | --- |
| `Stored` | the new entry (MISS) | the new entry (HIT) |
| `NotCacheable` | the service's response (MISS) | each fetches its own (MISS) |
| `Failed`, status 500 or above | the stale entry (STALE), else the problem | the same |
| `Failed`, status below 500 | the stale entry (STALE), else the problem | each fetches its own (MISS) |
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from services.gateway.cache import policy
from services.gateway.cache.fill import (
    HEADERS_OF_304,
    Failed,
    FetchedResponse,
    FillResult,
    NotCacheable,
    Stored,
    make_entry,
    read_body,
    shared_request,
    update_headers,
)
from services.gateway.cache.policy import OURS, Rules
from services.gateway.cache.store import Entry, Store, StoreUnavailable
from services.gateway.cache.write_invalidation import all_of, forward_write
from services.gateway.http.headers import Headers
from services.gateway.http.request_target import join_target
from services.gateway.proxy.connection_pool import CONNECT_TIMEOUT
from services.gateway.request_context import KEY, Environ, RequestContext, StartResponse
from shared.identity.csrf import SAFE_METHODS
from shared.problems import Problem
from shared.telemetry.request_id import WsgiApp
from shared.web.prefetch import is_prefetch

MAX_WAITS = 2  # times that a request waits for the fetch of an identical one
RETRY = 5.0  # seconds after a failed revalidation
ERRORS = frozenset(("500", "502", "503", "504"))
UNCACHED_HEADERS = frozenset(
    ("HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_TRANSFER_ENCODING")
)
NoteView = Callable[[str, str], None]
NAME = "Postern"  # of this cache in Cache-Status (RFC 9211, section 2)
BYPASS = ("BYPASS", f"{NAME}; fwd=bypass")


@dataclass(slots=True)
class Flight:
    """One fetch for which identical requests wait (single-flight); without a `result` each fetches its own."""

    done: threading.Event = field(default_factory=threading.Event)
    result: FillResult | None = None

    @property
    def problem(self) -> Problem | None:
        """Return the service's failure, which counts for the waiting requests too."""
        return self.result.problem if isinstance(self.result, Failed) and self.result.problem.status >= 500 else None


def response_cache(
    app: WsgiApp,
    store: Store | None,
    note_view: NoteView,
    rules: Rules = OURS,
    clock: Callable[[], float] = time.monotonic,
) -> WsgiApp:
    """Wrap the proxy in the cache. Without a store it only removes the headers for the cache.

    `note_view(post, address)` is called for each view of a cached post, which the service does not see.
    """
    cache = ResponseCache(app, store, note_view, rules, clock) if store else None

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        route, method = context.route, environ["REQUEST_METHOD"]
        if route is None or route.upstream is None:
            return app(environ, start_response)
        if method not in SAFE_METHODS:
            return forward_write(app, store if route.cached else None, rules, environ, start_response)
        if not route.cached or method == "OPTIONS":
            return app(environ, start_response)
        if cache is None or not context.is_anonymous or bypasses_cache(environ):
            return app(environ, rewrite(start_response, context, rules, *BYPASS))
        return cache.read(environ, start_response, context)

    return layer


def bypasses_cache(environ: Environ) -> bool:
    """Return whether a read has a body, a range, a precondition, or removes headers by `Connection`."""
    if environ.get("HTTP_CONNECTION", "").lower() not in ("", "keep-alive", "close"):
        return True
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or not UNCACHED_HEADERS.isdisjoint(environ)


def rewrite(
    start_response: StartResponse, context: RequestContext, rules: Rules, verdict: str, status_line: str
) -> StartResponse:
    """Remove the headers for the cache from a response, and add X-Cache and Cache-Status (RFC 9211)."""

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        context.cache_result = verdict
        said = [("X-Cache", verdict), ("Cache-Status", status_line)]
        return start_response(status, rules.outward(headers) + said, exc_info)

    return start


class ResponseCache:
    """Serve GET and HEAD from the store, or from the service."""

    def __init__(
        self, app: WsgiApp, store: Store, note_view: NoteView, rules: Rules, clock: Callable[[], float]
    ) -> None:
        self._app = app
        self._store = store
        self._note_view = note_view
        self._rules = rules
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()

    def read(self, environ: Environ, start: StartResponse, context: RequestContext) -> Iterable[bytes]:
        try:
            return self._read(environ, start, join_target(context.path, context.query))
        except StoreUnavailable:
            return self._app(environ, rewrite(start, context, self._rules, *BYPASS))

    def _read(self, environ: Environ, start: StartResponse, target: str) -> Iterable[bytes]:
        entry, now = self._store.find(target, environ), self._clock()
        if entry is not None:
            if now < entry.fresh_until:
                return self._serve(entry, environ, start, now, "HIT", "hit")
            if now < entry.grace_until or (now < entry.retry_at and now < entry.error_until):
                self._revalidate_in_background(environ, target, entry, now)
                return self._serve(entry, environ, start, now, "STALE", "hit")
        return self._fetch_once(environ, start, target)

    def _fetch_once(self, environ: Environ, start: StartResponse, target: str) -> Iterable[bytes]:
        """Coalesce identical misses: one request fetches, the others wait for its entry.

        If the response is not cacheable, each request fetches its own, in the time that is left of its deadline.
        """
        context: RequestContext = environ[KEY]
        deadline = time.monotonic() + CONNECT_TIMEOUT + (context.route.first_byte if context.route else 0)
        for _ in range(MAX_WAITS):
            flight, is_first = self._join(target)
            if is_first:
                return self._fetch(environ, start, target, flight)
            if not flight.done.wait(deadline - time.monotonic()):
                raise Problem("GATEWAY_TIMEOUT", "The service took too long to answer.")
            if not isinstance(flight.result, Stored) and not flight.problem:
                break
            # The stored entry may be another variant than this request selects, or purged already.
            entry, now = self._store.find(target, environ), self._clock()
            if entry and (now < entry.fresh_until or (flight.problem and now < entry.error_until)):
                verdict = "HIT" if now < entry.fresh_until else "STALE"
                return self._serve(entry, environ, start, now, verdict, "fwd=uri-miss; collapsed")
            if flight.problem:
                raise flight.problem
        context.deadline = deadline
        return self._app(environ, rewrite(start, context, self._rules, "MISS", f"{NAME}; fwd=uri-miss"))

    def _join(self, target: str) -> tuple[Flight, bool]:
        with self._lock:
            if flight := self._flights.get(target):
                return flight, False
            self._flights[target] = Flight()
            return self._flights[target], True

    def _finish(self, target: str, flight: Flight) -> None:
        with self._lock:
            del self._flights[target]
        flight.done.set()

    def _fetch(self, environ: Environ, start: StartResponse, target: str, flight: Flight) -> Iterable[bytes]:
        try:
            old = self._store.find(target, environ)
            if old and self._clock() < old.fresh_until:  # another fetch has just stored it
                flight.result = Stored(old)
                return self._serve(old, environ, start, self._clock(), "HIT", "hit")
            result = flight.result = self._fill(environ, target, old)
        finally:
            self._finish(target, flight)
        if isinstance(result, Stored):
            return self._serve(result.entry, environ, start, self._clock(), "MISS", f"fwd={_why(old)}; stored")
        if isinstance(result, NotCacheable):
            if old:
                self._store.discard(old)
            return self._send_uncached(result.response, environ, start, _why(old))
        if result.stale:
            return self._serve(result.stale, environ, start, self._clock(), "STALE", "fwd=stale")
        raise result.problem

    def _fill(self, environ: Environ, target: str, old: Entry | None) -> FillResult:
        """Fetch from the service, and store the response if it is cacheable."""
        since = self._store.epoch
        try:
            response = self._call(environ, old)
            if response.status[:3] == "304":
                response = self._revalidated(environ, old, response)
        except Problem as problem:
            return self._failed(problem, old)
        if response.status[:3] == "304":
            response.close()
            detail = "The service answered 304 to a request without a condition."
            return self._failed(Problem("BAD_GATEWAY", detail), old)
        if response.status[:3] in ERRORS:
            failed = self._failed(Problem("BAD_GATEWAY", "The service failed."), old)
            if failed.stale:
                response.close()
                return failed
        lifetimes = policy.lifetimes(response.status, response.headers, self._rules)
        try:
            body = read_body(response) if lifetimes else None
        except OSError:
            return self._failed(Problem("BAD_GATEWAY", "The service broke off its answer."), old)
        if lifetimes is None or body is None:
            return NotCacheable(response)
        tags = lifetimes.tags | {all_of(environ[KEY].route.upstream)}
        entry = make_entry(target, environ, response, body, lifetimes, tags, self._rules, self._clock())
        self._store.put(entry, since)
        return Stored(entry)

    def _failed(self, problem: Problem, old: Entry | None) -> Failed:
        """Return the failure, with the old entry unless that is too old or was purged meanwhile."""
        now = self._clock()
        if old is None or now >= old.error_until or not self._store.has(old):
            return Failed(problem, None)
        old.retry_at = now + RETRY
        return Failed(problem, old)

    def _call(self, environ: Environ, old: Entry | None) -> FetchedResponse:
        started: list[tuple[str, Headers]] = []
        asked = shared_request(environ, old, self._rules.selecting)
        body = self._app(asked, lambda status, headers, exc_info=None: started.append((status, headers)))
        return FetchedResponse(*started[-1], body)

    def _revalidated(self, environ: Environ, old: Entry | None, response: FetchedResponse) -> FetchedResponse:
        """Return the old response with the headers of a 304; fetch anew if the 304 is about another response."""
        response.close()
        if old and policy.validates(response.headers, old.headers):
            return FetchedResponse(old.status, update_headers(old, response.headers), [old.body])
        return self._call(environ, None)

    def _revalidate_in_background(self, environ: Environ, target: str, entry: Entry, now: float) -> None:
        """Revalidate the entry in a thread (stale-while-revalidate), unless a request does so or it has just failed."""
        if now < entry.retry_at:
            return
        flight, is_first = self._join(target)
        if is_first:
            alone = {key: value for key, value in environ.items() if key != "gunicorn.socket"}
            alone[KEY] = replace(environ[KEY])
            alone["HTTP_SEC_PURPOSE"] = "prefetch"  # the view of the stale response is counted
            threading.Thread(target=self._revalidate, args=(alone, target, flight), daemon=True).start()

    def _revalidate(self, environ: Environ, target: str, flight: Flight) -> None:
        try:
            body = self._fetch(environ, lambda *_: None, target, flight)
        except (Problem, StoreUnavailable):
            return  # stale-while-revalidate: the stale response may still be served
        if close := getattr(body, "close", None):
            close()

    def _serve(
        self, entry: Entry, environ: Environ, start: StartResponse, now: float, verdict: str, detail: str
    ) -> Iterable[bytes]:
        """Send the entry, or 304 if the client has it."""
        context: RequestContext = environ[KEY]
        context.cache_result = verdict
        said = [
            ("Age", str(int(now - entry.born))),
            ("X-Cache", verdict),
            ("Cache-Status", f"{NAME}; {detail}; ttl={int(entry.fresh_until - now)}"),
        ]
        if _is_not_modified(environ, entry.status, entry.headers):
            start("304 Not Modified", entry.headers_of_304 + said)
            return ()
        self._count_view(environ, entry.viewed)
        start(entry.status, entry.headers + said)
        return (entry.body,) if environ["REQUEST_METHOD"] == "GET" else ()

    def _send_uncached(
        self, response: FetchedResponse, environ: Environ, start: StartResponse, why: str
    ) -> Iterable[bytes]:
        """Send a response that is not stored. Evaluate the client's condition here: the service did not get it."""
        start = rewrite(start, environ[KEY], self._rules, "MISS", f"{NAME}; fwd={why}")
        if _is_not_modified(environ, response.status, response.headers):
            response.close()
            start("304 Not Modified", [item for item in response.headers if item[0].lower() in HEADERS_OF_304])
            return ()
        if response.status[0] == "2":
            self._count_view(environ, policy.value_of(response.headers, "view-of"))
        start(response.status, response.headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            response.close()
            return ()
        return response.body

    def _count_view(self, environ: Environ, post: str) -> None:
        """Report a view of the post, unless the request is a HEAD or a prefetch."""
        if post and environ["REQUEST_METHOD"] == "GET" and not is_prefetch(environ):
            self._note_view(post, environ[KEY].address)


def _is_not_modified(environ: Environ, status: str, headers: Headers) -> bool:
    condition, since = environ.get("HTTP_IF_NONE_MATCH", ""), environ.get("HTTP_IF_MODIFIED_SINCE", "")
    return bool(condition or since) and status[0] == "2" and policy.is_not_modified(condition, since, headers)


def _why(old: Entry | None) -> str:
    return "stale" if old else "uri-miss"
