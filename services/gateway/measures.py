"""What the gateway counts besides requests: how its upstreams are, and whom the limits refuse."""

import time

from services.gateway import forward as engine
from services.gateway.forward import Answer, Request
from services.gateway.pool import Pool
from shared.metrics import Counter, Histogram
from shared.problems import Problem

REFUSALS = Counter("gateway_rate_limited_total", "Requests refused by a limit.", "limit")
UPSTREAMS = Histogram(
    "gateway_upstream_duration_seconds", "Time until an upstream's answer could be passed on.", "upstream", "outcome"
)


def forward(pool: Pool, request: Request) -> Answer:
    """Pass on as `forward.forward` does, and time it: the outcome is the class of the status, or our problem's code."""
    started = time.perf_counter()
    try:
        answer = engine.forward(pool, request)
    except Problem as problem:
        UPSTREAMS.observe(time.perf_counter() - started, pool.name, problem.code)
        raise
    UPSTREAMS.observe(time.perf_counter() - started, pool.name, f"{answer.status[0]}xx")
    return answer
