"""HTML forms without scripts: views can accept them, and browsers get redirects and pages.

A view takes forms by `@blp.arguments(…, location="json_or_form")` or `@takes_form`. To `Accept: text/html` a success is
then a 303 to the path in `_next`, and a refusal a page. An HTML form can only GET and POST: one with `_method=DELETE`
that is sent to the path of a view for DELETE is served as DELETE.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from flask import Flask, Response, current_app, g, request
from markupsafe import Markup
from werkzeug.datastructures import MIMEAccept, MultiDict
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.http import parse_accept_header
from werkzeug.urls import iri_to_uri

from shared.identity.credentials import csrf_cookie
from shared.identity.csrf import CSRF_COOKIE, FORM, MULTIPART, Csrf, media_type
from shared.problems import Problem
from shared.service import current_service

CSRF_FIELD, NEXT_FIELD, METHOD_FIELD, HONEYPOT = "_csrf", "_next", "_method", "website"
EXTRA = frozenset((CSRF_FIELD, NEXT_FIELD, METHOD_FIELD, HONEYPOT))
METHODS = frozenset(("PUT", "PATCH", "DELETE"))  # that `_method` may say
MAX_FIELDS = 100
HTML = "text/html"
View = TypeVar("View", bound=Callable[..., Any])
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_method_field = re.compile(rb"(?:^|&)_method=(PUT|PATCH|DELETE)(?=&|$)", re.IGNORECASE).search
_same_site_path = re.compile(r"/(?!/)[^\\\x00-\x20\x7f-\x9f\ud800-\udfff]{0,2000}").fullmatch
PAGE = Markup(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
    "<h1>{title}</h1><p>{detail}</p>{messages}</html>\n"
)
MESSAGE = Markup("<li>{}: {}</li>")


def takes_form(view: View, kind: str = FORM) -> View:
    """Mark a view that HTML forms of this media type may call."""
    view.takes_form = kind  # type: ignore[attr-defined]
    return view


def is_taken() -> bool:
    """Return whether the request is a form of a media type that its view accepts."""
    kind = getattr(current_app.view_functions.get(request.endpoint or ""), "takes_form", None)
    return kind is not None and kind == media_type(request.environ)


def fields() -> MultiDict[str, str]:
    """Return the fields of the form; raise BAD_REQUEST, and CSRF_FAILED for another site's form.

    They are read from the raw body, which others read again.
    """
    if "postern_form" not in g:
        csrf: Csrf = current_service().get(Csrf)
        csrf.refuse_foreign(request.environ)
        body = request.get_data(cache=True)
        try:
            text = body.decode()
            pairs = parse_qsl(text, True, True, errors="strict", max_num_fields=MAX_FIELDS) if text else []
        except ValueError as error:
            raise Problem("BAD_REQUEST", "The body is not a form in UTF-8.") from error
        g.postern_form = MultiDict(pairs)
    return cast(MultiDict[str, str], g.postern_form)


def csrf_field() -> str:
    """Return the CSRF token of the form.

    That of a multipart form is somewhere behind its files: the cookie stands in for it until `note_parts`.
    """
    if media_type(request.environ) == MULTIPART:
        g.postern_csrf = csrf_cookie(request.environ)
        return cast(str, g.postern_csrf)
    return fields().get(CSRF_FIELD, "")


def note_parts(texts: Mapping[str, str]) -> None:
    """Set the text fields of a multipart form that the view has read; raise CSRF_FAILED for a wrong token."""
    g.postern_form = MultiDict(texts)
    given = texts.get(CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode(), g.get("postern_csrf", given).encode()):
        raise Problem("CSRF_FAILED", f"Send the field {CSRF_FIELD} equal to the cookie {CSRF_COOKIE} of this session.")


def redirects() -> bool:
    """Return whether the response to a success is a redirect: to a browser that sent a form."""
    return is_taken() and wants_page(request.headers.get("Accept", ""))


def safe_path(text: str) -> str:
    """Return a path on this very site, the root for anything that a browser could read as another one."""
    path = text.partition("?")[0].partition("#")[0]
    return text if _same_site_path(text) and "//" not in path else "/"


def wants_page(accept: str) -> bool:
    """Return whether Accept prefers HTML to JSON."""
    accepted = parse_accept_header(accept, MIMEAccept)
    return accepted.best_match(("application/json", HTML), "application/json") == HTML


def refusal_page(problem: Problem) -> bytes:
    """Return a problem as an HTML page."""
    errors = problem.errors or {}
    items = [MESSAGE.format(name, text) for name, texts in errors.items() for text in texts]
    messages = Markup("<ul>{}</ul>").format(Markup("").join(items)) if items else ""
    return PAGE.format(title=problem.title, detail=problem.sentence, messages=messages).encode()


def stated_method(body: bytes) -> str:
    """Return what `_method` says in the body of a plain form where it may say so, nothing else."""
    found = _method_field(body)
    return found[1].decode().upper() if found else ""


def init_app(app: Flask) -> None:
    app.before_request(_take_stated_method)
    app.after_request(_redirect)


def _take_stated_method() -> Any:
    """Route a form to the view of the method that it states, where its path has no view for POST."""
    if not isinstance(request.routing_exception, MethodNotAllowed) or request.method != "POST":
        return None
    method = stated_method(request.get_data(cache=True)) if media_type(request.environ) == FORM else ""
    adapter = current_app.create_url_adapter(request)
    if not (method and adapter and method in adapter.allowed_methods()):
        return None
    rule, arguments = adapter.match(method=method, return_rule=True)
    if getattr(current_app.view_functions[rule.endpoint], "takes_form", None) != FORM:
        return None
    request.environ["REQUEST_METHOD"] = request.method = method
    request.url_rule, request.view_args, request.routing_exception = rule, dict(arguments), None
    hooks = (hook for name in request.blueprints for hook in current_app.before_request_funcs.get(name, ()))
    return next((answer for hook in hooks if (answer := hook()) is not None), None)


def _redirect(response: Response) -> Response:
    """Redirect a browser that sent a form to the path that the form states."""
    if response.status_code < 300 and redirects():
        response.status_code = 303
        response.set_data(b"")
        for name in ("Content-Type", "ETag"):
            response.headers.pop(name, None)
        response.headers["Location"] = iri_to_uri(safe_path(fields().get(NEXT_FIELD, "/")))
    return response
