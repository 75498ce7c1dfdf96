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
    type = ma.fields.URL()
    title = ma.fields.String()
    status = ma.fields.Integer()
    detail = ma.fields.String()
    instance = ma.fields.String()
    code = ma.fields.String()
    errors = ma.fields.Dict(ma.fields.String(), ma.fields.List(ma.fields.String()), metadata=SOMETIMES)
    request_id = ma.fields.String()


class Api(flask_smorest.Api):
    """flask-smorest with our errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Leave errors to shared.web.error_handlers."""

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
        api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
        for blueprint in blueprints:
            blueprint.register_views_in_doc(api, app, api.spec, name=blueprint.name, parameters=None)
            api.spec.tag({"name": blueprint.name, "description": blueprint.description})
        document: Document = api.spec.to_dict()
        return document

    return describe


def blueprint(describe: Callable[[], Document]) -> PlainBlueprint:
    """Return the route where the gateway reads the service's OpenAPI document."""
    blp = PlainBlueprint("document", __name__)

    @blp.get("/internal/openapi.json")
    def show() -> Response:
        require_internal()
        return Response(orjson.dumps(describe()), content_type="application/json")

    return blp
