"""The WSGI middleware of the gateway; `chain` in `app.py` has the order.

Each middleware stores its results in the `RequestContext` for the next ones. A refused request counts against its rate
limit first, so its response has the rate limit headers.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from services.gateway.http import forwarded, headers
from services.gateway.http.cors import Cors
from services.gateway.http.request_target import join_target, split_target
from services.gateway.proxy.circuit_breaker import CircuitBreaker
from services.gateway.proxy.connection_pool import QUEUE_TIMEOUT, ConnectionPool
from services.gateway.proxy.forward import UpstreamRequest, forward
from services.gateway.proxy.request_body import SHORT, content_length, too_large
from services.gateway.rate_limit.classes import CLASSES, Verdict, Window
from services.gateway.request_context import (
    KEY,
    Environ,
    RequestContext,
    StartResponse,
    client_body,
    raw_target,
    reset_on_close,
    set_path,
)
from services.gateway.routes import Route, RouteTable
from services.gateway.telemetry import note_excess, note_upstream, timing_headers
from shared.concurrency import Bulkhead
from shared.identity import credentials, roles
from shared.identity.claims import Claims
from shared.identity.csrf import SAFE_METHODS, Csrf, media_type
from shared.network.sockets import ClientGone
from shared.problems import Problem
from shared.telemetry.request_id import WsgiApp
from shared.web import content_coding, html_forms

MAX_SPOOLED = 32  # bodies of one client that are being spooled
TOO_MANY_SPOOLED = f"{MAX_SPOOLED} uploads of yours are under way already."
OF_ALL_ROUTES = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_logger = logging.getLogger("postern.gateway")


def open_context(
    app: WsgiApp, is_proxy: forwarded.IsProxy, cors: Cors, public_url: str, always: headers.Headers
) -> WsgiApp:
    """Create the request context, turn exceptions into problems, and add the headers of all responses."""

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context = environ[KEY] = RequestContext(
            forwarded.client_address(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), is_proxy),
            credentials.has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")),
            always + cors.headers(environ.get("HTTP_ORIGIN", "")),
        )

        started = time.perf_counter()

        def start(status: str, answered: headers.Headers, exc_info: Any = None) -> Any:
            extra = context.extra + timing_headers(environ, context, time.perf_counter() - started)
            ours = headers.with_policies(answered, extra, private=context.private)
            return start_response(status, ours, exc_info)

        try:
            return app(environ, start)
        except Problem as problem:
            return _refusal(problem, environ, start, public_url)
        except ClientGone:
            raise
        except Exception:
            _logger.exception("unexpected error")
            return _refusal(Problem("INTERNAL_ERROR"), environ, start, public_url)

    return layer


def _refusal(problem: Problem, environ: Environ, start: StartResponse, public_url: str) -> list[bytes]:
    route = environ[KEY].route
    if takes_form(environ, route) and html_forms.wants_page(environ.get("HTTP_ACCEPT", "")):
        status, answered, body = problem.answer_page(html_forms.refusal_page(problem), html_forms.POLICY)
    else:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
        status, answered, body = problem.answer(path, environ["postern.request_id"], public_url)
    start(status, answered)
    return [body]


def find_route(app: WsgiApp, table: RouteTable) -> WsgiApp:
    """Find the route of the path. Exactly this path is authorised and forwarded."""

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        is_options = environ["REQUEST_METHOD"] == "OPTIONS"
        if is_options and environ.get("RAW_URI") == "*" and "postern.problem" not in environ:  # RFC 9110, section 9.3.7
            start_response("204 No Content", [("Allow", OF_ALL_ROUTES)])
            return []
        try:
            if problem := environ.get("postern.problem"):  # from the server: the request is malformed or timed out
                raise problem
            context.path, context.query = split_target(raw_target(environ))
        except Problem as problem:
            context.refuse(problem)
            return app(environ, start_response)
        context.node = table.find(context.path)
        if context.node is None:
            context.refuse(Problem("NOT_FOUND"))
        else:
            context.route = context.node.routes.get(environ["REQUEST_METHOD"]) or _stated_route(environ, context)
            if context.route is None:
                context.refuse(Problem("METHOD_NOT_ALLOWED", allowedMethods=context.node.allowed))
            else:
                environ["postern.route"] = context.route.pattern
        return app(environ, start_response)

    return layer


def takes_form(environ: Environ, route: Route | None) -> bool:
    """Return whether the request is an HTML form of the media type that its route takes."""
    return bool(route and route.form and route.form == media_type(environ))


def _stated_route(environ: Environ, context: RequestContext) -> Route | None:
    """Return the route of the method in the field `_method` of an HTML form, and set the method of the request.

    This reads the body of the form.
    """
    routes = context.node.routes if context.node else {}
    candidates = (routes.get(name) for name in html_forms.METHODS)
    if environ["REQUEST_METHOD"] != "POST" or not any(takes_form(environ, route) for route in candidates):
        return None
    try:
        context.body = client_body(environ, SHORT)
    except Problem as problem:
        context.refuse(problem)
        return None
    method = html_forms.stated_method(context.body.first) if context.body else ""
    route = routes.get(method)
    if not takes_form(environ, route):
        return None
    environ["REQUEST_METHOD"] = method
    return route


def limit_body(app: WsgiApp) -> WsgiApp:
    """Refuse a compressed body, or a Content-Length above the limit of the route."""

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        if refusal := content_coding.refusal(environ):
            context.refuse(refusal)
        length = environ.get("CONTENT_LENGTH")
        if context.route and length and (content_length(length) or 0) > context.route.max_body:
            context.refuse(too_large(context.route.max_body))
        return app(environ, start_response)

    return layer


def handle_preflights(app: WsgiApp, cors: Cors) -> WsgiApp:
    """Respond to CORS preflights; other OPTIONS requests pass."""

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        is_preflight = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        if not is_preflight or "postern.problem" in environ:  # from the server: the request is malformed
            return app(environ, start_response)
        context: RequestContext = environ[KEY]
        methods = context.node.allowed if context.node else ()
        start_response("204 No Content", cors.preflight_headers(environ.get("HTTP_ORIGIN", ""), methods))
        return []

    return layer


def authenticate(app: WsgiApp, verify: Callable[[str], Claims], csrf: Csrf) -> WsgiApp:
    """Verify the access token and the CSRF token; a refusal is raised after the request has counted.

    Of an HTML form, this checks the CSRF cookie and the origin. The service compares the cookie with the form field,
    since the gateway does not read the body.
    """

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        if context.private and (context.route is None or context.route.reads_token):
            form = takes_form(environ, context.route)
            field = partial(credentials.csrf_cookie, environ) if form else None
            try:
                context.identity, context.cookie_refusal = credentials.identify(environ, verify, csrf, field)
            except Problem as problem:
                context.refuse(problem)
            if context.identity:
                environ["postern.user"] = context.identity.user_id
        return app(environ, start_response)

    return layer


def rate_limit(app: WsgiApp, window: Window | None, *, observe: bool) -> WsgiApp:
    """Count the request by user or client address; over the limit raise RATE_LIMITED, or only log it with `observe`."""
    if window is None:
        return app

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        name = context.route.limit if context.route else "general"
        if name is not None:
            key = context.rate_limit_key
            verdict = window.hit(CLASSES[name], key)
            context.extra += verdict.headers()
            if not verdict.allowed:
                note_excess(environ, name, key, "observed" if observe else "refused")
                if not observe:
                    raise verdict.problem()
            elif context.route and context.route.refunds_success:
                return app(environ, _refunding(start_response, window, context, verdict))
        return app(environ, start_response)

    return layer


def _refunding(
    start_response: StartResponse, window: Window, context: RequestContext, verdict: Verdict
) -> StartResponse:
    """Wrap `start_response` so that a success is refunded."""

    def start(status: str, answered: headers.Headers, exc_info: Any = None) -> Any:
        if status < "4":
            window.refund(verdict.limit, context.rate_limit_key)
            counted = verdict.headers()
            context.extra = [header for header in context.extra if header not in counted] + verdict.refunded().headers()
        return start_response(status, answered, exc_info)

    return start


def authorize(app: WsgiApp) -> WsgiApp:
    """Raise the refusal of an earlier middleware, or refuse a client without the role of the route."""

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        if context.refusal or context.route is None:
            raise context.refusal or Problem("NOT_FOUND")
        check_role(context.route.role, context.identity, context.cookie_refusal)
        return app(environ, start_response)

    return layer


def check_role(needed: str | None, identity: Claims | None, cookie_refusal: Problem | None) -> None:
    """Raise UNAUTHORIZED without an identity if a role is needed, FORBIDDEN for too low a role.

    `cookie_refusal`, the reason why a cookie is not accepted, is raised in place of UNAUTHORIZED.
    """
    if needed is None:
        return
    if identity is None:
        raise cookie_refusal or Problem("UNAUTHORIZED", "This needs a signed-in user.")
    if not roles.includes(identity.role, needed):
        raise Problem("FORBIDDEN", f"This needs the role {needed}.")


def proxy(
    own_pages: WsgiApp,
    pools: Mapping[str, ConnectionPool],
    breakers: Mapping[str, CircuitBreaker],
    is_proxy: forwarded.IsProxy,
    spool: Path,
) -> WsgiApp:
    """Forward to the upstream of the route, or to the gateway's own pages; bodies are spooled in the folder `spool`."""
    spooling = Bulkhead(
        None, per_client=MAX_SPOOLED, patience=QUEUE_TIMEOUT, detail=TOO_MANY_SPOOLED, code="RATE_LIMITED"
    )

    def layer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[KEY]
        route = context.route
        if route is None or route.upstream is None:
            set_path(environ, context.path)
            return own_pages(environ, start_response)
        name = route.upstream
        with spooling.place(context.rate_limit_key) if route.spooled else nullcontext():
            request = _request(environ, context, route, is_proxy, spool if route.spooled else None)
        try:
            answer = forward(pools[name], request, breakers[name], partial(note_upstream, context, name))
        finally:
            if request.body:
                request.body.close()
        said = answer.headers
        if environ["REQUEST_METHOD"] == "OPTIONS":  # the service's own Allow lacks methods of overlapping patterns
            said = [header for header in said if header[0].lower() != "allow"] + [("Allow", allowed(context))]
        start_response(answer.status, said)
        return answer.body

    return layer


def allowed(context: RequestContext) -> str:
    return ", ".join(context.node.allowed) if context.node else ""


def _request(
    environ: Environ, context: RequestContext, route: Route, is_proxy: forwarded.IsProxy, spool: Path | None
) -> UpstreamRequest:
    scheme, host = forwarded.scheme_and_host(environ, is_proxy)
    passed = headers.to_upstream(
        headers.from_environ(environ),
        client=context.address,
        scheme=scheme,
        host=host,
        request_id=environ["postern.request_id"],
    )
    return UpstreamRequest(
        environ["REQUEST_METHOD"],
        join_target(context.path, context.query),
        passed,
        context.body or client_body(environ, route.max_body, spool),
        context.time_for(route),
        lambda: reset_on_close(environ) if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else None,
        None if outlives_client(environ, route) else environ.get("gunicorn.socket"),
        context.rate_limit_key,
        note_sent=context.note_sent,
        has_waited=context.deadline is not None,
    )


def outlives_client(environ: Environ, route: Route) -> bool:
    """Return whether to finish after a disconnect: other requests wait for the response, or it purges the cache."""
    return "postern.shared" in environ or (route.cached and environ["REQUEST_METHOD"] not in SAFE_METHODS)
