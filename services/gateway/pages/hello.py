"""An endpoint to try the gateway."""

import marshmallow as ma
from flask import Response, request

from services.gateway.request_context import whole_body
from services.gateway.routes import FORM_LIMIT
from shared import clock, strict_json
from shared.problems import Problem
from shared.web.blueprint import Blueprint
from shared.web.request_parser import JSON
from shared.web.responses import respond
from shared.web.schema import AnswerSchema, Timestamp


class GreetingSchema(AnswerSchema):
    """A greeting."""

    message = ma.fields.String()
    timestamp = Timestamp()
    user_agent = ma.fields.String(allow_none=True)


class EchoSchema(AnswerSchema):
    """The JSON that was sent."""

    received = ma.fields.Raw()


blp = Blueprint("hello", __name__, description="Try the gateway")


@blp.get("/api/hello")
@blp.response(200, GreetingSchema)
def greet() -> Response:
    """Return a greeting."""
    return respond(
        {
            "message": "Hello from Postern",
            "timestamp": clock.rfc3339(clock.now()),
            "userAgent": request.headers.get("User-Agent"),
        }
    )


@blp.post("/api/hello")
@blp.doc(requestBody={"required": True, "content": {JSON: {"schema": {}}}})
@blp.response(200, EchoSchema)
def echo() -> Response:
    """Return the JSON that was sent."""
    if request.mimetype != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", allowedTypes=[JSON])
    received = strict_json.loads(whole_body(request.environ, FORM_LIMIT))
    return respond({"received": received})
