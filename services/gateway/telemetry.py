"""The gateway's metrics, and the headers Server-Timing and X-Explain of a response."""

import json
import logging
from typing import Any

from services.gateway.http.headers import Headers
from services.gateway.http.request_target import join_target
from services.gateway.request_context import Environ, RequestContext
from shared.telemetry.metrics import Counter, Histogram

EXCESS = Counter("gateway_rate_limited_total", "Requests beyond a limit.", "limit", "action")
VERDICTS = Counter("gateway_cache_total", "Reads of what may be kept, by X-Cache.", "verdict")
UPSTREAMS = Histogram(
    "gateway_upstream_duration_seconds",
    "Time until an upstream's answer could be passed on.",
    "upstream",
    "route",
    "outcome",
)


_logger = logging.getLogger("postern.limits")


def note_excess(environ: Environ, limit: str, key: str, action: str) -> None:
    """Count a request over a limit; log it if the limit is only observed."""
    EXCESS.add(limit, action)
    if action == "observed":
        fields = {"limit": limit, "countedBy": key, "requestId": environ["postern.request_id"]}
        _logger.info("over the limit", extra={"fields": fields})


def note_upstream(context: RequestContext, upstream: str, outcome: str, seconds: float) -> None:
    """Record the duration of an upstream request, for the metrics and Server-Timing."""
    context.upstream_seconds = seconds
    UPSTREAMS.observe(seconds, upstream, context.route.pattern if context.route else "", outcome)


def timing_headers(environ: Environ, context: RequestContext, elapsed: float) -> Headers:
    """Return Server-Timing in ms until the response started; also X-Explain, if an admin sent that header."""
    if context.cache_result:
        VERDICTS.add(context.cache_result)
    timing = f"gateway;dur={(elapsed - context.upstream_seconds) * 1000:.1f}"
    if context.upstream_seconds:
        timing += f", upstream;dur={context.upstream_seconds * 1000:.1f}"
    if "HTTP_X_EXPLAIN" not in environ or context.identity is None or context.identity.role != "admin":
        return [("Server-Timing", timing)]
    return [("Server-Timing", timing), ("X-Explain", json.dumps(_decisions(environ, context)))]


def _decisions(environ: Environ, context: RequestContext) -> dict[str, Any]:
    route = context.route
    return {
        "client": context.address,
        "user": context.identity.user_id if context.identity else None,
        "path": context.path,
        "route": route.pattern if route else None,
        "who": (route.role or "all") if route else None,
        "upstream": route.upstream if route else None,
        "limit": route.limit if route else "general",
        "countedBy": context.rate_limit_key,
        "refusal": context.refusal.code if context.refusal else None,
        "cache": context.cache_result or None,
        "cacheKey": join_target(context.path, context.query) if route and route.cached else None,
        "upstreamMs": round(context.upstream_seconds * 1000, 1),
        "requestId": environ["postern.request_id"],
    }
