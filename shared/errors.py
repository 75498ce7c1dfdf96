"""Turn whatever goes wrong inside a Flask app into the one error shape of `shared.problems`."""

import logging
from typing import Any

import peewee
from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from shared.problems import Problem, code_for

_logger = logging.getLogger("postern.errors")


def init_app(app: Flask) -> None:
    app.register_error_handler(Problem, respond)
    app.register_error_handler(ValidationError, _validation)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ParseException, _broken_body)
    app.register_error_handler(peewee.IntegrityError, _integrity)
    app.register_error_handler(peewee.DatabaseError, _database)
    app.register_error_handler(Exception, _unknown)


def respond(problem: Problem) -> Response:
    """Return the answer for a refused request."""
    status, headers, body = problem.answer(request.path, request.environ.get("postern.request_id", ""))
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
    return respond(Problem(code_for(error.code or 500)))


def _broken_body(error: ParseException) -> Response:
    """Refuse a body whose chunks are broken, and end the connection, whose framing is lost."""
    return respond(Problem("BAD_REQUEST", "The body is broken.", headers={"Connection": "close"}))


def _integrity(error: peewee.IntegrityError) -> Response:
    _logger.info("integrity error", exc_info=error)
    return respond(Problem("CONFLICT"))


def _database(error: peewee.DatabaseError) -> Response:
    """Ask the client to come back when the database is busy or away."""
    _logger.error("database error", exc_info=error)
    if isinstance(error, peewee.OperationalError | peewee.InterfaceError):
        return respond(Problem("SERVICE_UNAVAILABLE", "The database is not available.", retryAfter=1))
    return respond(Problem("INTERNAL_ERROR"))


def _unknown(error: Exception) -> Response:
    _logger.error("unexpected error", exc_info=error)
    return respond(Problem("INTERNAL_ERROR"))
