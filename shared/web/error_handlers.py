"""Map exceptions inside a Flask app to problems (RFC 9457)."""

import logging
from typing import Any

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from shared.problems import Problem, code_for
from shared.service import current_service
from shared.web import html_forms

_KEPT_HEADERS = ("Content-Range", "Retry-After")
_logger = logging.getLogger("postern.errors")


def init_app(app: Flask) -> None:
    app.register_error_handler(Problem, respond)
    app.register_error_handler(ValidationError, _validation)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ParseException, _broken_body)
    app.register_error_handler(Exception, _unknown)


def respond(problem: Problem) -> Response:
    """Return the response of a problem: a page if a browser sent a form, otherwise JSON."""
    if html_forms.redirects():
        status, headers, body = problem.answer_page(html_forms.refusal_page(problem), html_forms.POLICY)
    else:
        request_id, public_url = request.environ.get("postern.request_id", ""), current_service().public_url
        status, headers, body = problem.answer(request.path, request_id, public_url)
    return Response(body, status, headers)


def flat_errors(messages: Any, path: str = "") -> dict[str, list[str]]:
    """Flatten marshmallow's nested messages to field paths: `{"tags": {2: [m]}}` is `{"tags.2": [m]}`."""
    if isinstance(messages, dict):
        flat: dict[str, list[str]] = {}
        for key, value in messages.items():
            inner = path if key == "_schema" else f"{path}.{key}" if path else str(key)
            for name, texts in flat_errors(value, inner).items():
                flat[name] = flat.get(name, []) + texts
        return flat
    return {path: [str(message) for message in messages] if isinstance(messages, list) else [str(messages)]}


def _validation(error: ValidationError) -> Response:
    return respond(Problem("VALIDATION_ERROR", errors=flat_errors(error.normalized_messages())))


def _http(error: HTTPException) -> Response:
    if isinstance(error, MethodNotAllowed):
        return respond(Problem("METHOD_NOT_ALLOWED", allowedMethods=sorted(error.valid_methods or ())))
    if isinstance(error, RequestEntityTooLarge):
        return respond(Problem("PAYLOAD_TOO_LARGE", maxSize=request.max_content_length))
    if error.response is not None or (error.code or 500) < 400:  # a redirect
        return error.get_response()  # type: ignore[return-value]
    headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    return respond(Problem(code_for(error.code or 500), headers=headers))


def _broken_body(error: ParseException) -> Response:
    """Refuse a body with malformed chunked coding, and close the connection, whose framing is lost."""
    return respond(Problem("BAD_REQUEST", "The body is broken.", headers={"Connection": "close"}))


def _unknown(error: Exception) -> Response:
    _logger.error("unexpected error", exc_info=error)
    return respond(Problem("INTERNAL_ERROR"))
