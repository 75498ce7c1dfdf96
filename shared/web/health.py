"""Health endpoints on a service's own port: `/healthz` (liveness) and `/readyz` (readiness)."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response

from shared.web.responses import respond

Check = Callable[[], object]


def blueprint(checks: Mapping[str, Check]) -> Blueprint:
    """Return the two routes; a check raises an exception if its part fails."""
    blp = Blueprint("health", __name__)

    @blp.get("/healthz")
    def alive() -> Response:
        return respond({"status": "ok"})

    @blp.get("/readyz")
    def ready() -> Response:
        results = {name: _measure(check) for name, check in checks.items()}
        healthy = all(result["status"] == "ok" for result in results.values())
        return respond({"status": "ok" if healthy else "down", "checks": results}, 200 if healthy else 503)

    return blp


def _measure(check: Check) -> dict[str, Any]:
    started = time.perf_counter()
    status = "ok" if _works(check) else "down"
    return {"status": status, "latencyMs": round((time.perf_counter() - started) * 1000, 1)}


def _works(check: Check) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 (whatever it is, the part does not work)
        return False
    return True
