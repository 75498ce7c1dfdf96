"""The response envelope, and the headers of every response."""

from typing import Any

import orjson
from flask import Response, g, request
from flask.json.provider import JSONProvider

from shared import strict_json
from shared.identity.credentials import has_credentials
from shared.web.request_parser import JSON

_DUMP = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class JsonProvider(JSONProvider):
    """Flask's JSON provider: orjson for output, the strict parser for input."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=_DUMP).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return strict_json.loads(s.encode() if isinstance(s, str) else s)


def envelope(data: Any) -> dict[str, Any]:
    """Return the body of a success, for a paginated list with `pagination`."""
    body = {"success": True, "data": data}
    if pagination := g.get("pagination"):
        body["pagination"] = pagination
    return body


def respond(data: Any, status: int = 200, headers: dict[str, str] | None = None, **beside: Any) -> Response:
    """Return a response with serializable data, without marshmallow; `beside` are further members of the envelope."""
    return Response(orjson.dumps(envelope(data) | beside, option=_DUMP), status, headers, content_type=JSON)


def no_content() -> Response:
    """Return a 204."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def keep_private(response: Response) -> Response:
    """Set `Cache-Control: no-store`, unless the view has set another, and `nosniff`."""
    said = {name.lower(): value for name, value in response.headers}  # one lookup in `Headers` costs as much as this
    if "x-content-type-options" not in said:
        response.headers.add("X-Content-Type-Options", "nosniff")
    if said.get("cache-control", "no-store") == "no-store":
        environ = request.environ
        signed_in = has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))
        response.headers["Cache-Control"] = "private, no-store" if signed_in else "no-store"
    return response
