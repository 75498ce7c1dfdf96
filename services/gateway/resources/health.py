"""The state of the whole."""

from flask import Response, current_app

from services.gateway.health import Health
from shared.api import Blueprint, respond

blp = Blueprint("gateway_health", __name__, description="The state of the whole")


@blp.get("/api/health")
def show() -> Response:
    """Say how every service is; 503 when accounts or posts are down."""
    health: Health = current_app.extensions["postern.gateway_health"]
    report = health.report()
    return respond(report, 503 if report["status"] == "unhealthy" else 200, {"Cache-Control": "no-store"})
