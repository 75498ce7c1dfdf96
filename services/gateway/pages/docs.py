"""The OpenAPI document, and Swagger UI."""

from importlib import metadata
from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Response, request, send_from_directory

from services.gateway.openapi.merge import Documents
from shared.problems import Problem
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.request_parser import JSON

blp = Blueprint("docs", __name__, description="API documentation")

VERSION = metadata.version("flask-swagger-ui")
ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
MEDIA_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
FOLDER = Path(__file__).parent / "static"
PAGE = (FOLDER / "docs.html").read_text().replace("{version}", VERSION)
SCRIPT = (FOLDER / "docs.js").read_bytes()
YEAR = 365 * 24 * 3600
# Swagger UI sets style attributes and has its icons as data URLs; a description may hold neither script nor image.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def ok_response(*kinds: str, schema: str) -> dict[str, Any]:
    """Return the OpenAPI description of a response with these media types."""
    return {"200": {"description": "OK", "content": {kind: {"schema": {"type": schema}} for kind in kinds}}}


@blp.get("/api/openapi.json")
@blp.doc(responses=ok_response(JSON, schema="object"))
def document() -> Response:
    """Return the OpenAPI 3.1 document of all services."""
    documents: Documents = current_service().get(Documents)
    return _cacheable(Response(documents.merged(), content_type=JSON))


@blp.get("/api/docs")
@blp.doc(responses=ok_response("text/html", schema="string"))
def page() -> Response:
    """Show the documentation in Swagger UI."""
    response = _cacheable(Response(PAGE), "no-cache")  # it names files of this release's Swagger UI
    response.headers["Content-Security-Policy"] = POLICY
    return response


@blp.get("/api/docs/docs.js")
@blp.doc(responses=ok_response("text/javascript", schema="string"))
def script() -> Response:
    """Return the script that starts Swagger UI."""
    return _cacheable(Response(SCRIPT, mimetype="text/javascript"))


@blp.get("/api/docs/<version>/<file>")
@blp.doc(responses=ok_response(*MEDIA_TYPES.values(), schema="string"))
def asset(version: str, file: str) -> Response:
    """Return a file of Swagger UI; its URL contains the version."""
    if version != VERSION or file not in MEDIA_TYPES:
        raise Problem("NOT_FOUND")
    response = send_from_directory(ASSETS, file, mimetype=MEDIA_TYPES[file], max_age=YEAR)
    response.cache_control.public = True
    response.cache_control.immutable = True
    return response


def _cacheable(response: Response, rule: str = "public, max-age=60") -> Response:
    response.headers["Cache-Control"] = rule
    response.add_etag()
    response.make_conditional(request)
    return response
