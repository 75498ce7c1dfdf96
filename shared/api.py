"""The kit's flask-smorest: the envelope, strict parsing, camelCase on the wire and snake_case in Python."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flask_smorest
import marshmallow as ma
import orjson
from flask import Flask, Request, Response, current_app, g, request
from flask.json.provider import JSONProvider
from werkzeug.exceptions import RequestEntityTooLarge

from shared import content_coding, strict_json
from shared.arguments import JSON as JSON
from shared.arguments import FormWire, Parser
from shared.arguments import Wire as Wire
from shared.clock import rfc3339
from shared.credentials import has_credentials
from shared.csrf import SAFE_METHODS
from shared.problems import Problem
from shared.visible_text import has_visible_character

_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_controls_but_lines = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]").search
_is_integer = re.compile(r"-?[0-9]{1,19}").fullmatch
_DUMP = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def camel(name: str) -> str:
    """Turn snake_case into camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Schema(ma.Schema):
    """Refuse unknown keys; every field is camelCase outside. A body that is not `body_required` may be missing."""

    body_required: ClassVar[bool] = True

    class Meta:
        unknown = ma.RAISE

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        field_obj.data_key = field_obj.data_key or camel(field_name)


class AnswerSchema(Schema):
    """What goes out: the document says that each field is always there, but for those with the metadata SOMETIMES.

    A list of such has its pagination, unless it is not `paginated`, and `beside_list` beside it.
    """

    paginated: ClassVar[bool] = True
    beside_list: ClassVar[dict[str, ma.fields.Field[Any]]] = {}

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = not SOMETIMES.items() <= field_obj.metadata.items()


SOMETIMES = {"optional": True}


class NothingSchema(Schema):
    """A body that may be missing, and says nothing."""

    body_required = False


class Text(ma.fields.String):
    """A string, trimmed before it is measured unless `verbatim`; `lines` allows line breaks and tabs.

    One line that must not be empty, such as a name or a title, needs a visible character too.

    Control characters and lone surrogates are refused: some databases, mails and headers cannot hold them.
    """

    def __init__(self, *, low: int = 0, high: int, verbatim: bool = False, lines: bool = False, **options: Any):
        self._length = ma.validate.Length(low, high)
        super().__init__(validate=[self._length, *options.pop("validate", [])], **options)
        self._high = high
        self._verbatim = verbatim
        self._refused = _controls_but_lines if lines else _controls
        self._needs_visible = low > 0 and not (lines or verbatim)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given: str = super()._deserialize(value, attr, data, **kwargs)
        text = given if self._verbatim else given.strip()
        if len(text) > self._high:  # before anything reads it: to normalize 1 MiB of marks takes minutes
            self._length(text)
        if self._refused(given):
            raise ma.ValidationError("Must not contain control characters.")
        if self._needs_visible and text and not has_visible_character(text):
            raise ma.ValidationError("Must have a visible character.")
        return text


class List(ma.fields.List[Any]):
    """An array of at most so many items, counted before any of them is looked at."""

    def __init__(self, item: ma.fields.Field[Any], *, high: int, **options: Any):
        super().__init__(item, validate=ma.validate.Length(max=high), **options)
        self._high = high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > self._high:
            raise ma.ValidationError(f"Longer than maximum length {self._high}.")
        return super()._deserialize(value, attr, data, **kwargs)


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
        if isinstance(value, FormWire) and value == "on":
            return True
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


class PaginationSchema(AnswerSchema):
    """Where a list is, for the OpenAPI document."""

    page = ma.fields.Integer(allow_none=True)
    limit = ma.fields.Integer()
    total = ma.fields.Integer()
    total_pages = ma.fields.Integer()
    total_is_exact = ma.fields.Boolean()
    has_more = ma.fields.Boolean()
    next_cursor = ma.fields.String(allow_none=True)


_envelopes: dict[tuple[type, bool], type[Schema]] = {}  # the document wants one class for one name


def takes_query(view: Callable[..., Any]) -> Any:
    """Mark a view that takes keys in the query, which any other refuses."""
    view.takes_query = True  # type: ignore[attr-defined]
    return view


def takes_body(view: Callable[..., Any]) -> Any:
    """Mark a view that reads a body, which any other refuses; arguments and a documented body mark it too."""
    view.takes_body = True  # type: ignore[attr-defined]
    return view


def _refuse_what_is_not_taken() -> None:
    view = current_app.view_functions[request.endpoint or ""]
    if request.query_string and request.args and not hasattr(view, "takes_query"):
        raise Problem("VALIDATION_ERROR", errors={key: ["Unknown field."] for key in request.args})
    if request.method not in SAFE_METHODS and not hasattr(view, "takes_body"):
        _nothing.load(Blueprint.ARGUMENTS_PARSER.load_json(request, _nothing))


_nothing = NothingSchema()


class Blueprint(flask_smorest.Blueprint):
    """Wrap what a view returns, and its documentation, into the envelope."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before_request(_refuse_what_is_not_taken)

    ARGUMENTS_PARSER = Parser()
    DEFAULT_LOCATION_CONTENT_TYPE_MAPPING: ClassVar[dict[str, str]] = {
        **flask_smorest.Blueprint.DEFAULT_LOCATION_CONTENT_TYPE_MAPPING,
        "json_or_form": JSON,
    }

    def arguments(self, schema: Any, *, location: str = "json", **options: Any) -> Callable[[Any], Any]:
        """Load the arguments of a view; with `json_or_form` it takes plain HTML forms too.

        One schema serves all requests: to make one takes longer than to load most of them.
        """
        one = schema() if isinstance(schema, type) else schema
        options.setdefault("required", getattr(one, "body_required", True))
        decorate: Callable[[Any], Any] = super().arguments(one, location=location, **options)

        def mark(view: Any) -> Any:
            marked = (takes_query if location == "query" else takes_body)(decorate(view))
            if location == "json_or_form":
                marked.takes_form = True
            return marked

        return mark

    def doc(self, **about: Any) -> Callable[[Any], Any]:
        """Add to the documentation of a view, which may read a body by itself."""
        decorate: Callable[[Any], Any] = super().doc(**about)
        return (lambda view: takes_body(decorate(view))) if "requestBody" in about else decorate

    @staticmethod
    def _prepare_response_content(data: Any) -> Any:
        return envelope(data)

    @staticmethod
    def _make_doc_response_schema(schema: Any) -> Any:
        if schema is None:
            return None
        members: dict[str, Any] = {
            "success": ma.fields.Boolean(required=True),
            "data": ma.fields.Nested(schema, required=True),
        }
        if schema.many:
            pagination = ma.fields.Nested(PaginationSchema, required=schema.paginated)
            members |= {"pagination": pagination, **schema.beside_list}
        name = type(schema).__name__.removesuffix("Schema") + ("List" if schema.many else "") + "Envelope"
        return _envelopes.setdefault((type(schema), schema.many), type(name, (Schema,), members))


def envelope(data: Any) -> dict[str, Any]:
    """Return the body of a success; a list that was paginated gets its place."""
    body = {"success": True, "data": data}
    if pagination := g.get("pagination"):
        body["pagination"] = pagination
    return body


def respond(data: Any, status: int = 200, headers: dict[str, str] | None = None, **beside: Any) -> Response:
    """Answer with data that is ready to serialise, past marshmallow; `beside` stands next to it in the envelope."""
    return Response(orjson.dumps(envelope(data) | beside, option=_DUMP), status, headers, content_type=JSON)


def no_content() -> Response:
    """Answer 204."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def init_app(app: Flask, blueprints: Sequence[Blueprint]) -> None:
    """Make the app's bodies strict, and give it these views."""
    app.request_class = _Request
    app.json = _OrjsonProvider(app)
    app.url_map.merge_slashes = False  # the gateway decides about a path as it is written
    app.before_request(_refuse_compressed_body)
    app.after_request(_keep_private)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)


def _refuse_compressed_body() -> None:
    if request.url_rule and (refusal := content_coding.refusal(request.environ)):
        raise refusal


def _keep_private(response: Response) -> Response:
    """Let nobody store an answer that does not say that it may be shared."""
    said = {name.lower(): value for name, value in response.headers}  # each look into them costs as much as this
    if "x-content-type-options" not in said:
        response.headers.add("X-Content-Type-Options", "nosniff")
    if said.get("cache-control", "no-store") == "no-store":
        environ = request.environ
        signed_in = has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))
        response.headers["Cache-Control"] = "private, no-store" if signed_in else "no-store"
    return response
