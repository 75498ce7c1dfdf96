"""What the gateway counts besides requests, and what it tells of a single one: how long it took, and why so."""

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
    """Count a request beyond a limit, and tell of one that is let pass whom it would have met."""
    EXCESS.add(limit, action)
    if action == "observed":
        fields = {"limit": limit, "countedBy": key, "requestId": environ["postern.request_id"]}
        _logger.info("over the limit", extra={"fields": fields})


def note_upstream(context: RequestContext, upstream: str, outcome: str, seconds: float) -> None:
    """Count an exchange with an upstream, and keep its time for Server-Timing and the log."""
    context.waited = seconds
    UPSTREAMS.observe(seconds, upstream, context.route.pattern if context.route else "", outcome)


def told(environ: Environ, context: RequestContext, elapsed: float) -> Headers:
    """Return Server-Timing in milliseconds until the answer began, and to an admin who asks what was decided."""
    if context.verdict:
        VERDICTS.add(context.verdict)
    timing = f"gateway;dur={(elapsed - context.waited) * 1000:.1f}"
    if context.waited:
        timing += f", upstream;dur={context.waited * 1000:.1f}"
    if "HTTP_X_EXPLAIN" not in environ or context.somebody is None or context.somebody.role != "admin":
        return [("Server-Timing", timing)]
    return [("Server-Timing", timing), ("X-Explain", json.dumps(_decisions(environ, context)))]


def _decisions(environ: Environ, context: RequestContext) -> dict[str, Any]:
    route = context.route
    return {
        "client": context.address,
        "user": context.somebody.user_id if context.somebody else None,
        "path": context.path,
        "route": route.pattern if route else None,
        "who": (route.role or "all") if route else None,
        "upstream": route.upstream if route else None,
        "limit": route.limit if route else "general",
        "countedBy": context.counted_by,
        "refusal": context.refusal.code if context.refusal else None,
        "cache": context.verdict or None,
        "cacheKey": join_target(context.path, context.query) if route and route.cached else None,
        "upstreamMs": round(context.waited * 1000, 1),
        "requestId": environ["postern.request_id"],
    }
