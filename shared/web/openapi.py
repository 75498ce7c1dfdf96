"""The OpenAPI document of a service, which the gateway merges."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import flask_smorest
import marshmallow as ma
import orjson
from flask import Blueprint as PlainBlueprint
from flask import Flask, Response

from shared.problems import CONTENT_TYPE
from shared.web.blueprint import Blueprint
from shared.web.internal import require_internal
from shared.web.schema import SOMETIMES, AnswerSchema

Document = dict[str, Any]


class ProblemSchema(AnswerSchema):
    """The one error shape, for the OpenAPI document."""

    success = ma.fields.Boolean()
    type = ma.fields.String(metadata={"format": "uri"})
    title = ma.fields.String()
    status = ma.fields.Integer()
    detail = ma.fields.String()
    instance = ma.fields.String()
    code = ma.fields.String()
    errors = ma.fields.Dict(ma.fields.String(), ma.fields.List(ma.fields.String()), metadata=SOMETIMES)
    request_id = ma.fields.String()


def schema_name(schema: Any) -> str:
    """Return the name of a schema in the documents: it carries the service, so that no other service changes it."""
    kind = schema if isinstance(schema, type) else type(schema)
    package, service, *_ = kind.__module__.split(".")
    return (service.capitalize() if package == "services" else "") + kind.__name__.removesuffix("Schema")


class Api(flask_smorest.Api):
    """flask-smorest with our errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Leave errors to `shared.web.error_handlers`."""

    def _register_responses(self) -> None:
        """Document errors with the media type that they have."""
        self.DEFAULT_RESPONSE_CONTENT_TYPE = CONTENT_TYPE
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


def describing(app: Flask, title: str, blueprints: Sequence[Blueprint]) -> Callable[[], Document]:
    """Return what makes the document, once.

    To make it takes twice as long as the rest of an app, and most processes are never asked for it.
    """

    @cache
    def describe() -> Document:
        app.config |= {"API_TITLE": title, "API_VERSION": "1", "OPENAPI_VERSION": "3.1.0"}
        api = Api(app)
        api.ma_plugin.converter.schema_name_resolver = schema_name
        api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
        for blueprint in blueprints:
            blueprint.register_views_in_doc(api, app, api.spec, name=blueprint.name, parameters=None)
            api.spec.tag({"name": blueprint.name, "description": blueprint.description})
        _join_variants(api.ma_plugin)
        document: Document = api.spec.to_dict()
        for name, schema in document["components"]["schemas"].items():
            _correct(name, schema)
        return document

    return describe


def _join_variants(plugin: Any) -> None:
    """Describe a schema with variants as `oneOf` with the discriminator `type`."""
    for key, name in list(plugin.converter.refs.items()):
        if variants := getattr(key[0], "variants", None):
            mapping = {kind: plugin.converter.resolve_nested_schema(one)["$ref"] for kind, one in variants.items()}
            plugin.spec.components.schemas[name] = {
                "oneOf": [{"$ref": reference} for reference in dict.fromkeys(mapping.values())],
                "discriminator": {"propertyName": "type", "mapping": mapping},
                "description": key[0].__doc__,
            }


def _correct(name: str, schema: Document) -> None:
    """Say of a body what apispec cannot: generators of clients would make a member with a default a required one."""
    for property in schema.get("properties", {}).values():
        property.pop("default", None)
    if name.endswith("Envelope"):
        schema["properties"]["success"] = {"type": "boolean", "const": True}


def blueprint(describe: Callable[[], Document]) -> PlainBlueprint:
    """Return the route where the gateway reads the service's OpenAPI document."""
    blp = PlainBlueprint("document", __name__)

    @blp.get("/internal/openapi.json")
    def show() -> Response:
        require_internal()
        return Response(orjson.dumps(describe()), content_type="application/json")

    return blp
