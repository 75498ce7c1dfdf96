"""The kit's flask-smorest: the envelope, strict parsing, camelCase on the wire and snake_case in Python."""

import re
from typing import Any

import flask_smorest
import marshmallow as ma
import orjson
from flask import Flask, Request, Response, g, request
from flask.json.provider import JSONProvider
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from shared import strict_json
from shared.clock import rfc3339
from shared.credentials import has_credentials
from shared.problems import CONTENT_TYPE, Problem

JSON = "application/json"
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_controls_but_lines = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]").search
_is_integer = re.compile(r"-?[0-9]{1,19}").fullmatch
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
        self._refused = _controls_but_lines if lines else _controls

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if self._refused(text):
            raise ma.ValidationError("Must not contain control characters.")
        return text if self._verbatim else text.strip()


class Wire(str):
    """A value of a query or a form, where numbers and booleans are texts as well; in JSON they are not."""

    __slots__ = ()


class Integer(ma.fields.Integer):
    """A whole number of at most 64 bits, in JSON without quotes: marshmallow alone takes 1.5, "1_0" and true."""

    def __init__(self, *, low: int = -(2**63), high: int = 2**63 - 1, **options: Any):
        super().__init__(validate=ma.validate.Range(low, high), **options)

    def _validated(self, value: Any) -> int:
        if (isinstance(value, Wire) and _is_integer(value)) or type(value) is int:
            return int(value)
        raise self.make_error("invalid", input=value)


class Boolean(ma.fields.Boolean):
    """A boolean, in JSON without quotes: marshmallow alone takes "on", "yes" and 1."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if isinstance(value, Wire) and value in ("true", "false"):
            return value == "true"
        if isinstance(value, bool):
            return value
        raise self.make_error("invalid", input=value)


class Timestamp(ma.fields.AwareDateTime):
    """A moment, RFC 3339 in UTC with Z."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class _OrjsonProvider(JSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=_DUMP).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return strict_json.loads(s.encode() if isinstance(s, str) else s)


class _Request(Request):
    """A request whose body is never cut: Werkzeug alone drops what a chunked one has beyond the limit."""

    def get_data(self, *args: Any, **kwargs: Any) -> Any:
        data = super().get_data(*args, **kwargs)
        if self.content_length is None and len(data) == self.max_content_length and self.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return data


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


def _texts(given: MultiDict[str, str], schema: ma.Schema, values: dict[str, list[str]]) -> dict[str, Any]:
    """Return one text for a key, or all where the schema has a list; refuse any other key given twice."""
    lists = {field.data_key for field in schema.fields.values() if isinstance(field, ma.fields.List)}
    twice = [key for key, texts in given.lists() if len(texts) > 1 and key not in lists]
    if twice:
        raise Problem("VALIDATION_ERROR", errors={key: ["Must be given once."] for key in twice})
    present = {key: [Wire(text) for text in texts] for key, texts in values.items() if texts}
    return {key: texts if key in lists else texts[0] for key, texts in present.items()}


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
    """flask-smorest with our errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Leave errors to shared.errors."""

    def _register_responses(self) -> None:
        """Document errors with the media type that they have."""
        self.DEFAULT_RESPONSE_CONTENT_TYPE = CONTENT_TYPE
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


_envelopes: dict[tuple[type, bool], type[Schema]] = {}  # the document wants one class for one name


class Blueprint(flask_smorest.Blueprint):
    """Wrap what a view returns, and its documentation, into the envelope."""

    ARGUMENTS_PARSER = _Parser()

    def arguments(self, schema: Any, **options: Any) -> Any:
        """Load arguments by one schema for all requests: to make one takes longer than to load most of them."""
        return super().arguments(schema() if isinstance(schema, type) else schema, **options)

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
        return _envelopes.setdefault((type(schema), schema.many), type(name, (Schema,), members))


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
    app.request_class = _Request
    app.json = _OrjsonProvider(app)
    app.url_map.merge_slashes = False  # the gateway decides about a path as it is written
    app.config |= {"API_TITLE": title, "API_VERSION": "1", "OPENAPI_VERSION": "3.1.0"}
    app.after_request(_keep_private)
    api = Api(app)
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    return api


def _keep_private(response: Response) -> Response:
    """Let nobody store an answer that does not say that it may be shared."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.headers.get("Cache-Control", "no-store") == "no-store":
        environ = request.environ
        signed_in = has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))
        response.headers["Cache-Control"] = "private, no-store" if signed_in else "no-store"
    return response
