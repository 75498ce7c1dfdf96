"""The kit's flask-smorest: the envelope, strict parsing, camelCase on the wire and snake_case in Python."""

from typing import Any

import flask_smorest
import marshmallow as ma
import orjson
from flask import Flask, Request, Response, g, request
from flask.json.provider import JSONProvider
from webargs.flaskparser import FlaskParser

from shared import strict_json
from shared.clock import rfc3339
from shared.problems import CONTENT_TYPE, Problem

JSON = "application/json"
_DUMP = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def camel(name: str) -> str:
    """Turn snake_case into camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Schema(ma.Schema):
    """Refuse unknown keys; every field is camelCase outside."""

    class Meta:
        unknown = ma.RAISE

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        field_obj.data_key = field_obj.data_key or camel(field_name)


class Text(ma.fields.String):
    """A string, trimmed before it is measured unless `verbatim`; `lines` allows line breaks and tabs.

    Control characters and lone surrogates are refused: some databases, mails and headers cannot hold them.
    """

    def __init__(self, *, low: int = 0, high: int, verbatim: bool = False, lines: bool = False, **options: Any):
        checks = [ma.validate.Length(low, high), *options.pop("validate", [])]
        super().__init__(validate=checks, **options)
        self._verbatim = verbatim
        self._allowed = "\t\n\r" if lines else ""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if any(_is_bad(char) and char not in self._allowed for char in text):
            raise ma.ValidationError("Must not contain control characters.")
        return text if self._verbatim else text.strip()


def _is_bad(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"


class Timestamp(ma.fields.Field[Any]):
    """A moment, RFC 3339 in UTC with Z."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class _OrjsonProvider(JSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=_DUMP).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return strict_json.loads(s.encode() if isinstance(s, str) else s)


class _Parser(FlaskParser):
    """Load arguments strictly: JSON only as JSON, every query key once, empty ones as absent."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012
        "json": ma.RAISE,
        "query": ma.RAISE,
        "form": ma.RAISE,
    }

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        if req.mimetype != JSON:
            raise Problem("UNSUPPORTED_MEDIA_TYPE", allowedTypes=[JSON])
        return strict_json.loads(req.get_data(cache=True))

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        lists = {f.data_key for f in schema.fields.values() if isinstance(f, ma.fields.List)}
        twice = [key for key, values in req.args.lists() if len(values) > 1 and key not in lists]
        if twice:
            raise Problem("VALIDATION_ERROR", errors={key: ["Must be given once."] for key in twice})
        present = {key: [v for v in values if v] for key, values in req.args.lists()}
        return {key: v if key in lists else v[0] for key, v in present.items() if v}

    def handle_error(self, error: ma.ValidationError, *args: Any, **kwargs: Any) -> Any:
        raise error

    def _handle_invalid_json_error(self, error: Exception, *args: Any, **kwargs: Any) -> Any:
        raise Problem("INVALID_JSON") from error


class ProblemSchema(Schema):
    """The one error shape, for the OpenAPI document."""

    success = ma.fields.Boolean()
    type = ma.fields.URL()
    title = ma.fields.String()
    status = ma.fields.Integer()
    detail = ma.fields.String()
    instance = ma.fields.String()
    code = ma.fields.String()
    errors = ma.fields.Dict(ma.fields.String(), ma.fields.List(ma.fields.String()))
    request_id = ma.fields.String()


class PaginationSchema(Schema):
    """Where a list is, for the OpenAPI document."""

    page = ma.fields.Integer(allow_none=True)
    limit = ma.fields.Integer()
    total = ma.fields.Integer()
    total_pages = ma.fields.Integer()
    total_is_exact = ma.fields.Boolean()
    has_more = ma.fields.Boolean()
    next_cursor = ma.fields.String(allow_none=True)


class Api(flask_smorest.Api):
    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_CONTENT_TYPE = CONTENT_TYPE

    def _register_error_handlers(self) -> None:
        """Leave errors to shared.errors."""


class Blueprint(flask_smorest.Blueprint):
    """Wrap what a view returns, and its documentation, into the envelope."""

    ARGUMENTS_PARSER = _Parser()

    @staticmethod
    def _prepare_response_content(data: Any) -> Any:
        return envelope(data)

    @staticmethod
    def _make_doc_response_schema(schema: Any) -> Any:
        if schema is None:
            return None
        members: dict[str, Any] = {"success": ma.fields.Boolean(), "data": ma.fields.Nested(schema)}
        if schema.many:
            members["pagination"] = ma.fields.Nested(PaginationSchema)
        name = type(schema).__name__.removesuffix("Schema") + ("List" if schema.many else "") + "Envelope"
        return type(name, (Schema,), members)


def envelope(data: Any) -> dict[str, Any]:
    """Return the body of a success; a list that was paginated gets its place."""
    body = {"success": True, "data": data}
    if pagination := g.get("pagination"):
        body["pagination"] = pagination
    return body


def respond(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with data that is ready to serialise, past marshmallow."""
    return Response(orjson.dumps(envelope(data), option=_DUMP), status, headers, content_type=JSON)


def no_content() -> Response:
    """Answer 204."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def init_app(app: Flask, title: str) -> Api:
    """Make the app's JSON strict and its OpenAPI document ready for blueprints."""
    app.json = _OrjsonProvider(app)
    app.url_map.strict_slashes = True
    app.config |= {"API_TITLE": title, "API_VERSION": "1", "OPENAPI_VERSION": "3.1.0"}
    app.after_request(_keep_private)
    return Api(app)


def _keep_private(response: Response) -> Response:
    """Let nobody store an answer that does not say that it may be shared."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if "Cache-Control" not in response.headers:
        signed_in = "Authorization" in request.headers or "authToken" in request.cookies
        response.headers["Cache-Control"] = "private, no-store" if signed_in else "no-store"
    return response
