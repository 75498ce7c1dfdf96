"""Parse the arguments of a view strictly: JSON, query or form."""

from typing import Any

import marshmallow as ma
from flask import Request
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict

from shared import strict_json
from shared.identity.csrf import FORM
from shared.problems import Problem
from shared.web import html_forms

JSON = "application/json"


class Wire(str):
    """A value of a query or a form, in which numbers and booleans are text."""

    __slots__ = ()


class FormWire(Wire):
    """A value of an HTML form, in which a ticked checkbox is "on"."""

    __slots__ = ()


class Parser(FlaskParser):
    """Load arguments strictly: JSON only as JSON, every query key once, empty ones as absent."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012
        "json": ma.RAISE,
        "query": ma.RAISE,
        "form": ma.RAISE,
        "json_or_form": ma.RAISE,
    }

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        return _json(req, schema, [JSON])

    def load_json_or_form(self, req: Request, schema: ma.Schema) -> Any:
        """Return the members of JSON, or the fields of an HTML form without those that all forms may have."""
        if req.mimetype != FORM:
            return _json(req, schema, [JSON, FORM])
        given, known = html_forms.fields(), {field.data_key for field in schema.fields.values()}
        wanted = {key: texts for key, texts in given.lists() if key in known or key not in html_forms.EXTRA}
        return _texts(given, schema, {key: [text for text in texts if text] for key, texts in wanted.items()}, FormWire)

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        present = {key: [value for value in values if value] for key, values in req.args.lists()}
        return _texts(req.args, schema, present)

    def load_form(self, req: Request, schema: ma.Schema) -> Any:
        return _texts(req.form, schema, dict(req.form.lists()))

    def handle_error(self, error: ma.ValidationError, *args: Any, **kwargs: Any) -> Any:
        """Raise the error without the location, which webargs puts in front of every field."""
        (messages,) = error.messages.values()  # type: ignore[union-attr]
        raise ma.ValidationError(messages) from error

    def _handle_invalid_json_error(self, error: Exception, *args: Any, **kwargs: Any) -> Any:
        raise Problem("INVALID_JSON") from error


def _json(req: Request, schema: ma.Schema, allowed: list[str]) -> Any:
    body, is_optional = req.get_data(cache=True), not getattr(schema, "body_required", True)
    if is_optional and not body:
        return {}
    if req.mimetype != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE", allowedTypes=allowed)
    value = strict_json.loads(body)
    return {} if is_optional and value is None else value


def _texts(
    given: MultiDict[str, str], schema: ma.Schema, values: dict[str, list[str]], kind: type[Wire] = Wire
) -> dict[str, Any]:
    """Return one text for each key, or all texts if the schema has a list; refuse other repeated keys."""
    lists = {field.data_key for field in schema.fields.values() if isinstance(field, ma.fields.List)}
    known = {field.data_key for field in schema.fields.values()}
    errors = {key: [message] for key, texts in given.lists() if (message := _mistake(key, texts, known, lists))}
    if errors:
        raise Problem("VALIDATION_ERROR", errors=errors)
    present = {key: [kind(text) for text in texts] for key, texts in values.items() if texts}
    return {key: texts if key in lists else texts[0] for key, texts in present.items()}


def _mistake(key: str, texts: list[str], known: set[str | None], lists: set[str | None]) -> str:
    """Return the error of a key, or an empty string; the schema refuses unknown keys."""
    if key not in known and key.removesuffix("[]") in lists:
        return f"Unknown field: repeat {key.removesuffix('[]')} instead."
    return "Must be given once." if len(texts) > 1 and key in known - lists else ""
