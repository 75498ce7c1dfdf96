"""Answer public reads from memory, ask a service once for what many want, and forget what a write touches."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from services.gateway.cache import policy
from services.gateway.cache.fill import BRIEF, FetchedResponse, collect, for_everybody, make_entry, renewed
from services.gateway.cache.policy import OURS, Rules
from services.gateway.cache.store import Entry, Store, StoreUnavailable
from services.gateway.cache.write_invalidation import all_of, write
from services.gateway.http.headers import Headers
from services.gateway.http.request_target import join_target
from services.gateway.proxy.connection_pool import CONNECT_TIMEOUT
from services.gateway.request_context import KEY, Environ, RequestContext, StartResponse
from shared.identity.csrf import SAFE_METHODS
from shared.problems import Problem
from shared.telemetry.request_id import WsgiApp
from shared.web.prefetch import is_prefetch

TRIES = 2  # times that a request waits for the answer to an equal one
RETRY = 5.0  # seconds after a renewal that failed
ERRORS = frozenset(("500", "502", "503", "504"))
UNUSUAL = frozenset(
    ("HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_TRANSFER_ENCODING")
)
NoteView = Callable[[str, str], None]
NAME = "Postern"  # of this cache in Cache-Status (RFC 9211)
PASSED_BY = ("BYPASS", f"{NAME}; fwd=bypass")


@dataclass(slots=True)
class Flight:
    """A question to a service, on whose answer others wait; `shared` says whether there was one for all."""

    done: threading.Event = field(default_factory=threading.Event)
    shared: bool = False
    problem: Problem | None = None


def reuse_answers(
    app: WsgiApp,
    store: Store | None,
    note_view: NoteView,
    rules: Rules = OURS,
    clock: Callable[[], float] = time.monotonic,
) -> WsgiApp:
    """Put the cache before the proxy; without a store nothing is kept, and marks for caches still stay inside.

    `note_view` gets the post and the client's address for each view that the service does not see.
    """
    reader = ResponseCache(app, store, note_view, rules, clock) if store else None

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        route, method = context.route, environ["REQUEST_METHOD"]
        if route is None or route.upstream is None:
            return app(environ, start_response)
        if method not in SAFE_METHODS:
            return write(app, store if route.cached else None, rules, environ, start_response)
        if not route.cached or method == "OPTIONS":
            return app(environ, start_response)
        if reader is None or not context.by_stranger or is_unusual(environ):
            return app(environ, rewrite(start_response, context, rules, *PASSED_BY))
        return reader.read(environ, start_response, context)

    return layer


def is_unusual(environ: Environ) -> bool:
    """Tell whether a read asks for something else than the whole, or changes what the service sees."""
    if environ.get("HTTP_CONNECTION", "").lower() not in ("", "keep-alive", "close"):
        return True
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or not UNUSUAL.isdisjoint(environ)


def rewrite(
    start_response: StartResponse, context: RequestContext, rules: Rules, verdict: str, status_line: str
) -> StartResponse:
    """Show clients what the rules let them see, and what the cache did."""

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        context.verdict = verdict
        said = [("X-Cache", verdict), ("Cache-Status", status_line)]
        return start_response(status, rules.outward(headers) + said, exc_info)

    return start


class ResponseCache:
    """Answer GET and HEAD from the store, or from the service."""

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
            return self._app(environ, rewrite(start, context, self._rules, *PASSED_BY))

    def _read(self, environ: Environ, start: StartResponse, target: str) -> Iterable[bytes]:
        entry, now = self._store.find(target, environ), self._clock()
        if entry is not None:
            if now < entry.fresh_until:
                return self._serve(entry, environ, start, now, "HIT", "hit")
            if now < entry.grace_until or (now < entry.retry_at and now < entry.error_until):
                self._renew_later(environ, target, entry, now)
                return self._serve(entry, environ, start, now, "STALE", "hit")
        return self._fetch_once(environ, start, target)

    def _fetch_once(self, environ: Environ, start: StartResponse, target: str) -> Iterable[bytes]:
        """Coalesce identical misses: one request fetches, the others wait for its entry.

        If the answer is not to be shared, each request fetches its own, in what is left of the time for one.
        """
        context: RequestContext = environ[KEY]
        deadline = time.monotonic() + CONNECT_TIMEOUT + (context.route.first_byte if context.route else 0)
        for _ in range(TRIES):
            flight, is_first = self._join(target)
            if is_first:
                return self._fetch(environ, start, target, flight)
            if not flight.done.wait(deadline - time.monotonic()):
                raise Problem("GATEWAY_TIMEOUT", "The service took too long to answer.")
            if not flight.shared:
                break
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

    def _land(self, target: str, flight: Flight) -> None:
        with self._lock:
            del self._flights[target]
        flight.done.set()

    def _fetch(self, environ: Environ, start: StartResponse, target: str, flight: Flight) -> Iterable[bytes]:
        old = None
        try:
            old = self._store.find(target, environ)
            if old and self._clock() < old.fresh_until:  # another flight has just landed
                flight.shared = True
                return self._serve(old, environ, start, self._clock(), "HIT", "hit")
            result = self._ask(environ, target, old, flight)
        except Problem as problem:
            if problem.status >= 500:
                flight.shared, flight.problem = True, problem
            now = self._clock()
            if old and self._may_outlive(old, now):
                return self._serve(old, environ, start, now, "STALE", "fwd=stale")
            raise
        finally:
            self._land(target, flight)
        if isinstance(result, Entry):
            return self._serve(result, environ, start, self._clock(), "MISS", f"fwd={_why(old)}; stored")
        if old:
            self._store.discard(old)
        return self._pass_on(result, environ, start, _why(old))

    def _may_outlive(self, entry: Entry, now: float) -> bool:
        """Tell whether the entry may be used although it could not be renewed; a purged one may not."""
        if now >= entry.error_until or not self._store.has(entry):
            return False
        entry.retry_at = now + RETRY
        return True

    def _ask(self, environ: Environ, target: str, old: Entry | None, flight: Flight) -> Entry | FetchedResponse:
        """Return what may be kept as an entry, anything else as it came; raise Problem for an error meanwhile."""
        since, now = self._store.epoch, self._clock()
        answer = self._call(environ, old)
        if answer.status[:3] == "304":
            answer = self._take_304(environ, old, answer)
        if old and answer.status[:3] in ERRORS and self._may_outlive(old, now):
            answer.close()
            raise Problem("BAD_GATEWAY", "The service failed.")
        terms = policy.terms(answer.status, answer.headers, self._rules)
        body = collect(answer) if terms else None
        if terms is None or body is None:
            return answer
        tags = terms.tags | {all_of(environ[KEY].route.upstream)}
        entry = make_entry(target, environ, answer, body, terms, tags, self._rules, self._clock())
        self._store.put(entry, since)
        flight.shared = True
        return entry

    def _call(self, environ: Environ, old: Entry | None) -> FetchedResponse:
        started: list[tuple[str, Headers]] = []
        asked = for_everybody(environ, old, self._rules.selecting)
        body = self._app(asked, lambda status, headers, exc_info=None: started.append((status, headers)))
        return FetchedResponse(*started[-1], body)

    def _take_304(self, environ: Environ, old: Entry | None, answer: FetchedResponse) -> FetchedResponse:
        """Return the entry's answer renewed; ask without its ETag when the 304 speaks of another one."""
        answer.close()
        if old and policy.confirms(answer.headers, old.headers):
            return FetchedResponse(old.status, renewed(old, answer.headers), [old.body])
        answer = self._call(environ, None)
        if answer.status[:3] == "304":
            answer.close()
            raise Problem("BAD_GATEWAY", "The service answered 304 to a request without a condition.")
        return answer

    def _renew_later(self, environ: Environ, target: str, entry: Entry, now: float) -> None:
        """Renew the entry in the background, unless somebody does or it has just failed."""
        if now < entry.retry_at:
            return
        flight, is_first = self._join(target)
        if is_first:
            alone = {key: value for key, value in environ.items() if key != "gunicorn.socket"}
            alone[KEY] = replace(environ[KEY])
            alone["HTTP_SEC_PURPOSE"] = "prefetch"  # whoever gets the old answer has been counted
            threading.Thread(target=self._renew, args=(alone, target, flight), daemon=True).start()

    def _renew(self, environ: Environ, target: str, flight: Flight) -> None:
        try:
            body = self._fetch(environ, lambda *_: None, target, flight)
        except (Problem, StoreUnavailable):
            return  # until its grace is over, the old answer is good enough
        if close := getattr(body, "close", None):
            close()

    def _serve(
        self, entry: Entry, environ: Environ, start: StartResponse, now: float, verdict: str, detail: str
    ) -> Iterable[bytes]:
        """Answer with the entry, or say that the client has it already."""
        context: RequestContext = environ[KEY]
        context.verdict = verdict
        said = [
            ("Age", str(int(now - entry.born))),
            ("X-Cache", verdict),
            ("Cache-Status", f"{NAME}; {detail}; ttl={int(entry.fresh_until - now)}"),
        ]
        if _has_already(environ, entry.status, entry.headers):
            start("304 Not Modified", entry.brief_headers + said)
            return ()
        self._count_view(environ, entry.viewed)
        start(entry.status, entry.headers + said)
        return (entry.body,) if environ["REQUEST_METHOD"] == "GET" else ()

    def _pass_on(self, answer: FetchedResponse, environ: Environ, start: StartResponse, why: str) -> Iterable[bytes]:
        """Answer with what is not kept; it was asked for without the client's condition, which is met here."""
        start = rewrite(start, environ[KEY], self._rules, "MISS", f"{NAME}; fwd={why}")
        if _has_already(environ, answer.status, answer.headers):
            answer.close()
            start("304 Not Modified", [item for item in answer.headers if item[0].lower() in BRIEF])
            return ()
        if answer.status[0] == "2":
            self._count_view(environ, policy.value_of(answer.headers, "view-of"))
        start(answer.status, answer.headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            answer.close()
            return ()
        return answer.body

    def _count_view(self, environ: Environ, post: str) -> None:
        """Count a view of the post, unless nobody gets to see it."""
        if post and environ["REQUEST_METHOD"] == "GET" and not is_prefetch(environ):
            self._note_view(post, environ[KEY].address)


def _has_already(environ: Environ, status: str, headers: Headers) -> bool:
    condition, since = environ.get("HTTP_IF_NONE_MATCH", ""), environ.get("HTTP_IF_MODIFIED_SINCE", "")
    return bool(condition or since) and status[0] == "2" and policy.has_already(condition, since, headers)


def _why(old: Entry | None) -> str:
    return "stale" if old else "uri-miss"
