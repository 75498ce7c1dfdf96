"""Take plain HTML forms where a view wants them, and answer a browser that runs no script with pages.

A view takes forms by `@blp.arguments(…, location="json_or_form")`. To `Accept: text/html` a success is then a 303
to the path in `_next`, and a refusal a page.
"""

import re
from typing import cast
from urllib.parse import parse_qsl

from flask import Flask, Response, current_app, g, request
from markupsafe import Markup
from werkzeug.datastructures import MIMEAccept, MultiDict
from werkzeug.http import parse_accept_header
from werkzeug.urls import iri_to_uri

from shared.identity.csrf import Csrf, is_form
from shared.problems import Problem
from shared.service import current_service

CSRF_FIELD, NEXT_FIELD, HONEYPOT = "_csrf", "_next", "website"
EXTRA = frozenset((CSRF_FIELD, NEXT_FIELD, HONEYPOT))
MAX_FIELDS = 100
HTML = "text/html"
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_same_site_path = re.compile(r"/(?!/)[^\\\x00-\x20\x7f-\x9f\ud800-\udfff]{0,2000}").fullmatch
PAGE = Markup(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
    "<h1>{title}</h1><p>{detail}</p>{messages}</html>\n"
)
MESSAGE = Markup("<li>{}: {}</li>")


def takes_form() -> bool:
    """Tell whether the request is a form, and its view one that takes forms."""
    if not is_form(request.environ):
        return False
    return getattr(current_app.view_functions.get(request.endpoint or ""), "takes_form", False)


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
    return fields().get(CSRF_FIELD, "")


def redirects() -> bool:
    """Tell whether a success is answered by a redirect: to a browser that sent a form."""
    return takes_form() and wants_page(request.headers.get("Accept", ""))


def safe_path(text: str) -> str:
    """Return a path on this very site, the root for anything that a browser could read as another one."""
    path = text.partition("?")[0].partition("#")[0]
    return text if _same_site_path(text) and "//" not in path else "/"


def wants_page(accept: str) -> bool:
    """Tell whether a page is preferred to JSON."""
    accepted = parse_accept_header(accept, MIMEAccept)
    return accepted.best_match(("application/json", HTML), "application/json") == HTML


def refusal_page(problem: Problem) -> bytes:
    """Return a page that says what a problem says."""
    errors = problem.errors or {}
    items = [MESSAGE.format(name, text) for name, texts in errors.items() for text in texts]
    messages = Markup("<ul>{}</ul>").format(Markup("").join(items)) if items else ""
    return PAGE.format(title=problem.title, detail=problem.sentence, messages=messages).encode()


def init_app(app: Flask) -> None:
    app.after_request(_redirect)


def _redirect(response: Response) -> Response:
    """Lead a browser that sent a form on to where the form says."""
    if response.status_code < 300 and redirects():
        response.status_code = 303
        response.set_data(b"")
        for name in ("Content-Type", "ETag"):
            response.headers.pop(name, None)
        response.headers["Location"] = iri_to_uri(safe_path(fields().get(NEXT_FIELD, "/")))
    return response
