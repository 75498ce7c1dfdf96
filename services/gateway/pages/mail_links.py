"""The pages for links in mails, for installations without a front end. They work without scripts and load nothing.

A GET changes nothing, since mail programs prefetch links; the button on the page sends a POST.
"""

import io
import re
from typing import Any
from urllib.parse import parse_qs

import orjson
from flask import Response, request
from markupsafe import Markup

from services.gateway.http import headers
from services.gateway.proxy.connection_pool import ConnectionPools
from services.gateway.proxy.forward import UpstreamRequest, forward
from services.gateway.proxy.request_body import ClientBody
from services.gateway.request_context import RequestContext, whole_body
from services.gateway.routes import FORM_LIMIT, ROUTES
from shared.identity.csrf import FORM
from shared.identity.password_policy import PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH
from shared.problems import Problem
from shared.service import current_service
from shared.web.blueprint import Blueprint, takes_query
from shared.web.request_parser import JSON

blp = Blueprint("links", __name__, description="Pages for links in mails")

TIMEOUT = 10.0  # seconds
_token = re.compile(r"[A-Za-z0-9_-]{1,200}").fullmatch

PAGE = Markup("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<h1>{title}</h1>{content}</html>
""")
SENTENCE = Markup('<p role="status">{}</p>')
VERIFY_FORM = Markup("""
<form method="post" action="/verify-email"><input type="hidden" name="token" value="{token}">
<p><button>Confirm the address</button></p></form>
""")
RESET_FORM = Markup("""
<form method="post" action="/reset-password"><input type="hidden" name="token" value="{token}">
<p><label>New password, at least {shortest} characters<br>
<input type="password" name="password" minlength="{shortest}" maxlength="{longest}"
 autocomplete="new-password" required></label></p>
<p><button>Set the password</button></p></form>
""")
PAGES = {200: {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}}
RESPONSES = PAGES | dict.fromkeys((400, 403, 409, 429, 500, 502, 503, 504), PAGES[200])
VERIFY_TITLE = "Confirm your email address"
RESET_TITLE = "Set a new password"


def form_of(*names: str) -> dict[str, Any]:
    """Return the OpenAPI description of a form with these fields."""
    properties = {name: {"type": "string"} for name in names}
    schema = {"type": "object", "properties": properties, "required": list(names)}
    return {"required": True, "content": {FORM: {"schema": schema}}}


@blp.get("/verify-email")
@blp.doc(responses=PAGES)
@takes_query
def show_verify() -> Response:
    """Show the page with the button that verifies the email address."""
    return _page(VERIFY_TITLE, VERIFY_FORM.format(token=_token_of_link()))


@blp.get("/reset-password")
@blp.doc(responses=PAGES)
@takes_query
def show_reset() -> Response:
    """Show the form for a new password."""
    return _page(RESET_TITLE, _reset_form(_token_of_link()))


@blp.post("/verify-email")
@blp.doc(responses=RESPONSES, requestBody=form_of("token"))
def verify() -> Response:
    """Verify the email address."""
    status, message = _ask_auth("/api/auth/verify-email", _fields("token"))
    return _page(VERIFY_TITLE, SENTENCE.format(message or "The address is confirmed."), status)


@blp.post("/reset-password")
@blp.doc(responses=RESPONSES, requestBody=form_of("token", "password"))
def reset() -> Response:
    """Set the password; show the form again if the password is refused."""
    fields = _fields("token", "password")
    status, message = _ask_auth("/api/auth/reset-password", fields)
    again = _reset_form(fields["token"]) if status == 400 else ""
    return _page(RESET_TITLE, SENTENCE.format(message or "The password is set. Sign in with it.") + again, status)


def _page(title: str, content: Markup, status: int = 200) -> Response:
    return Response(PAGE.format(title=title, content=content), status, content_type="text/html; charset=utf-8")


def _token_of_link() -> str:
    token = request.args.get("token", "")
    if not _token(token):
        raise Problem("BAD_REQUEST", "The link is not complete: copy all of it from the mail.")
    return token


def _reset_form(token: str) -> Markup:
    return RESET_FORM.format(token=token, shortest=PASSWORD_MIN_LENGTH, longest=PASSWORD_MAX_LENGTH)


def _fields(*names: str) -> dict[str, str]:
    """Return these fields of the form, empty if missing."""
    if request.mimetype != FORM:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", allowedTypes=[FORM])
    try:
        given = parse_qs(whole_body(request.environ, FORM_LIMIT).decode(), max_num_fields=10, errors="strict")
    except ValueError as error:
        raise Problem("BAD_REQUEST", "The form cannot be read.") from error
    return {name: given.get(name, [""])[0] for name in names}


OWNERS = {route.pattern: route.upstream or "" for route in ROUTES}


def _ask_auth(path: str, fields: dict[str, str]) -> tuple[int, str]:
    """Return the status of auth's response, 200 for any success, and the message of a refusal."""
    context: RequestContext = request.environ["postern.context"]
    passed = headers.to_upstream(
        [("content-type", JSON)],
        client=context.address,
        scheme=request.scheme,
        host="",
        request_id=request.environ["postern.request_id"],
    )
    body = orjson.dumps(fields)
    sent = ClientBody(io.BytesIO(body), len(body), FORM_LIMIT)
    try:
        response = forward(
            current_service().get(ConnectionPools)[OWNERS[path]],
            UpstreamRequest("POST", path, passed, sent, TIMEOUT),
        )
    except Problem as problem:
        return problem.status, "This does not work at the moment. Try again later."
    refusal = orjson.loads(b"".join(response.body) or b"{}")
    if response.status.startswith("2"):
        return 200, ""
    messages = [message for field in refusal.get("errors", {}).values() for message in field]
    return int(response.status[:3]), " ".join(messages) or refusal["detail"]
