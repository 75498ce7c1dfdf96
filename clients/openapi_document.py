"""Write the OpenAPI document of the whole, without starting anything: `python -m clients.openapi_document > FILE`."""

import importlib
import logging
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import orjson

from services.gateway.openapi.merge import merge
from services.gateway.routes import SERVICES, RouteTable
from shared.service import service_of

PUBLIC_URL = "http://localhost:8000"


def service_document(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what a service says of itself."""
    config = importlib.import_module(f"services.{name}.config").Config.load(environ)
    app = importlib.import_module(f"services.{name}.app").create_app(config)
    with app.app_context():
        document: dict[str, Any] = orjson.loads(orjson.dumps(service_of(app).document()))
    return document


def whole_document() -> bytes:
    """Return the document that a gateway with every service has."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"APP_ENV": "test", "DATA_DIR": folder, "LOG_LEVEL": "error"}
        documents = {name: service_document(name, environ) for name in ("gateway", *SERVICES)}
    document = merge(RouteTable(), documents, PUBLIC_URL, [])
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = dict(sorted(schemas.items()))  # in one order, so that changes are seen
    return orjson.dumps(document)


if __name__ == "__main__":
    logging.disable()
    sys.stdout.buffer.write(whole_document())
