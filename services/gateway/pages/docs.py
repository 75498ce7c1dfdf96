"""What there is to ask for: the OpenAPI document, and a page to read and try it."""

from pathlib import Path
from typing import Any

from flask import Response, request

from services.gateway.openapi.merge import Documents
from shared.problems import Problem
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.request_parser import JSON

blp = Blueprint("docs", __name__, description="What there is to ask for")

FOLDER = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FILES = {file.name: (file.read_bytes(), KINDS[file.suffix]) for file in FOLDER.iterdir() if file.suffix in KINDS}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def answers(*kinds: str, schema: str) -> dict[str, Any]:
    """Describe an answer of one of the media types."""
    return {"200": {"description": "OK", "content": {kind: {"schema": {"type": schema}} for kind in kinds}}}


@blp.get("/api/openapi.json")
@blp.doc(responses=answers(JSON, schema="object"))
def document() -> Response:
    """Return the OpenAPI 3.1 document of all services."""
    documents: Documents = current_service().get(Documents)
    return _cacheable(Response(documents.merged(), content_type=JSON))


@blp.get("/api/docs")
@blp.doc(responses=answers("text/html", schema="string"))
def page() -> Response:
    """Show a page to read the document and to try it."""
    return _file("docs.html")


@blp.get("/api/docs/<file>")
@blp.doc(responses=answers("text/javascript", "text/css", schema="string"))
def part(file: str) -> Response:
    """Return the page's script or style."""
    return _file(file)


def _file(name: str) -> Response:
    if name not in FILES:
        raise Problem("NOT_FOUND")
    content, kind = FILES[name]
    response = _cacheable(Response(content, content_type=f"{kind}; charset=utf-8"))
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _cacheable(response: Response) -> Response:
    response.headers["Cache-Control"] = "public, max-age=60"
    response.add_etag()
    response.make_conditional(request)
    return response
