"""flask-smorest's blueprint with the envelope, strict parsing and OpenAPI of this project."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flask_smorest
import marshmallow as ma
from flask import Flask, Request, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from shared.identity.csrf import SAFE_METHODS
from shared.problems import Problem
from shared.web import content_coding, html_forms
from shared.web.request_parser import JSON, Parser
from shared.web.responses import JsonProvider, envelope, keep_private
from shared.web.schema import EmptySchema, PaginationSchema, Schema


class _Request(Request):
    """A request whose body is never truncated: Werkzeug drops the part of a chunked body beyond the limit."""

    def get_data(self, *args: Any, **kwargs: Any) -> Any:
        data = super().get_data(*args, **kwargs)
        if self.content_length is None and len(data) == self.max_content_length and self.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return data


_envelopes: dict[tuple[type, str], type[Schema]] = {}  # the document wants one class for one name


def takes_query(view: Callable[..., Any]) -> Any:
    """Mark a view that accepts a query; other views refuse one."""
    view.takes_query = True  # type: ignore[attr-defined]
    return view


def takes_body(view: Callable[..., Any]) -> Any:
    """Mark a view that accepts a body; other views refuse one. Arguments and a documented body mark it too."""
    view.takes_body = True  # type: ignore[attr-defined]
    return view


def _refuse_what_is_not_taken() -> None:
    view = current_app.view_functions[request.endpoint or ""]
    if request.query_string and request.args and not hasattr(view, "takes_query"):
        raise Problem("VALIDATION_ERROR", errors={key: ["Unknown field."] for key in request.args})
    if request.method not in SAFE_METHODS and not hasattr(view, "takes_body"):
        parser = Blueprint.ARGUMENTS_PARSER
        load = parser.load_json_or_form if hasattr(view, "takes_form") else parser.load_json
        _nothing.load(load(request, _nothing))


_nothing = EmptySchema()


class Blueprint(flask_smorest.Blueprint):
    """A blueprint that wraps responses, and their documentation, in the envelope."""

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
                html_forms.takes_form(marked)
            return marked

        return mark

    def problems(self, *codes: str) -> Callable[[Any], Any]:
        """Document the error codes of the view besides those of all views of its kind."""
        return self.doc(**{"x-problems": codes})

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
        kind = "" if not schema.many else "List" if schema.paginated else "Batch"
        if kind == "List":
            members |= {"pagination": ma.fields.Nested(PaginationSchema, required=True), **schema.beside_list}
        name = f"{type(schema).__name__.removesuffix('Schema')}{kind}Envelope"
        members["__module__"] = type(schema).__module__
        return _envelopes.setdefault((type(schema), kind), type(name, (Schema,), members))


def init_app(app: Flask, blueprints: Sequence[Blueprint]) -> None:
    """Make the app's bodies strict, and give it these views."""
    app.request_class = _Request
    app.json = JsonProvider(app)
    app.url_map.merge_slashes = False  # the gateway decides about a path as it is written
    app.before_request(_refuse_compressed_body)
    app.after_request(keep_private)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)


def _refuse_compressed_body() -> None:
    if request.url_rule and (refusal := content_coding.refusal(request.environ)):
        raise refusal
