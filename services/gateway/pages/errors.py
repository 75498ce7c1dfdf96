"""The pages to which the `type` of a problem leads (RFC 9457, section 3.1.1)."""

import marshmallow as ma
from flask import Response, request
from markupsafe import Markup

from shared.problems import CODES, ErrorKind, Problem
from shared.web import html_forms
from shared.web.blueprint import Blueprint
from shared.web.responses import respond
from shared.web.schema import AnswerSchema


class ErrorKindSchema(AnswerSchema):
    """What an error code means."""

    code = ma.fields.String()
    status = ma.fields.Integer()
    title = ma.fields.String()
    advice = ma.fields.String()


blp = Blueprint("errors", __name__, description="What the error codes mean")

PAGE = Markup("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{code}</title>
<h1>{code}</h1><p>Status {status}: {title}.</p><p>{advice}</p></html>
""")


@blp.get("/api/errors/<code>")
@blp.response(200, ErrorKindSchema)
@blp.doc(responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}})
def explain(code: str) -> Response:
    """Explain the code as JSON, or as a page to a browser."""
    kind = CODES.get(code)
    if kind is None:
        raise Problem("NOT_FOUND", "There is no such error code.")
    wants_page = html_forms.wants_page(request.headers.get("Accept", ""))
    response = _page(code, kind) if wants_page else respond({"code": code, **kind._asdict()})
    response.headers |= {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
    return response


def _page(code: str, kind: ErrorKind) -> Response:
    return Response(PAGE.format(code=code, **kind._asdict()), content_type="text/html; charset=utf-8")
