"""Say whether a service is alive (`/healthz`) and whether it can work (`/readyz`), on its own port only."""

from collections.abc import Callable, Mapping

from flask import Blueprint, Response

from shared.api import respond

Check = Callable[[], object]


def blueprint(checks: Mapping[str, Check]) -> Blueprint:
    """Return the two routes; a check raises when its part does not work."""
    blp = Blueprint("health", __name__)

    @blp.get("/healthz")
    def alive() -> Response:
        return respond({"status": "ok"})

    @blp.get("/readyz")
    def ready() -> Response:
        results = {name: _works(check) for name, check in checks.items()}
        healthy = all(results.values())
        states = {name: "ok" if works else "down" for name, works in results.items()}
        return respond({"status": "ok" if healthy else "down", "checks": states}, 200 if healthy else 503)

    return blp


def _works(check: Check) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 (whatever it is, the part does not work)
        return False
    return True
