"""The health of all services."""

import marshmallow as ma
from flask import Response

from services.gateway.proxy.health import Health
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.responses import respond
from shared.web.schema import SOMETIMES, AnswerSchema, Timestamp


class CheckSchema(AnswerSchema):
    """The result of one check."""

    status = ma.fields.String(validate=ma.validate.OneOf(["ok", "down"]))
    latency_ms = ma.fields.Float()
    breaker = ma.fields.String(validate=ma.validate.OneOf(["closed", "open", "half-open"]), metadata=SOMETIMES)


class HealthSchema(AnswerSchema):
    """The health of all services."""

    status = ma.fields.String(validate=ma.validate.OneOf(["healthy", "degraded", "unhealthy"]))
    timestamp = Timestamp()
    version = ma.fields.String()
    uptime = ma.fields.Float()
    checks = ma.fields.Dict(ma.fields.String(), ma.fields.Nested(CheckSchema))


blp = Blueprint("gateway_health", __name__, description="Health of all services")


@blp.get("/api/health")
@blp.response(200, HealthSchema)
@blp.alt_response(503, schema=HealthSchema)
def show() -> Response:
    """Return the health of all services; 503 while auth or posts is down."""
    health: Health = current_service().get(Health)
    report = health.report()
    return respond(report, 503 if report["status"] == "unhealthy" else 200, {"Cache-Control": "no-store"})
