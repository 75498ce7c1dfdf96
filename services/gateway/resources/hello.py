"""A page to see that the gateway answers."""

from flask import Response, request

from services.gateway.routes import MIB
from services.gateway.visit import whole_body
from shared import clock, strict_json
from shared.api import JSON, Blueprint, respond
from shared.problems import Problem

blp = Blueprint("hello", __name__, description="See that the gateway answers")


@blp.get("/api/hello")
def greet() -> Response:
    """Greet the caller."""
    return respond(
        {
            "message": "Hello from Postern",
            "timestamp": clock.rfc3339(clock.now()),
            "userAgent": request.headers.get("User-Agent"),
        }
    )


@blp.post("/api/hello")
def echo() -> Response:
    """Return the JSON that was sent."""
    if request.mimetype != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", allowedTypes=[JSON])
    return respond({"received": strict_json.loads(whole_body(request.environ, MIB))})
