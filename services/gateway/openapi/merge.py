"""Merge the services' own OpenAPI documents into one of the whole, as the route table lets the public see it.

The table decides: an operation without a row is left out; names of paths and rights are those of the table.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from services.gateway.openapi import conventions
from services.gateway.openapi.conventions import SCHEMAS
from services.gateway.proxy.health import VERSION
from services.gateway.routes import Route, RouteTable
from shared.feed.service_client import InternalClient

PATH = "/internal/openapi.json"
KEEP = 60.0  # seconds; a document changes with a new release only
KEEP_INCOMPLETE = 2.0
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_names = re.compile(r"\{(\w+)…?\}").findall
Document = dict[str, Any]


class Documents:
    """The document of the whole: asked of all services at once, kept for a minute, and while a service is down."""

    def __init__(
        self,
        table: RouteTable,
        own: Callable[[], Document],
        upstreams: Mapping[str, str],
        token: str,
        public_url: str,
    ) -> None:
        self._table = table
        self._public_url = public_url
        self._own = own
        self._clients = {name: InternalClient(url, token) for name, url in upstreams.items()}
        self._known: dict[str, Document] = {}
        self._merged = b""
        self._until = float("-inf")
        self._lock = threading.Lock()

    def merged(self) -> bytes:
        """Return the document as JSON; `x-missing` names the services that have never been reached."""
        with self._lock:
            if time.monotonic() >= self._until:
                missing = self._ask()
                documents = {"gateway": self._own()} | {
                    name: self._known[name] for name in self._clients if name in self._known
                }
                self._merged = orjson.dumps(merge(self._table, documents, self._public_url, missing))
                self._until = time.monotonic() + (KEEP_INCOMPLETE if missing else KEEP)
            return self._merged

    def _ask(self) -> list[str]:
        askers = [threading.Thread(target=self._fetch, args=(name,)) for name in self._clients]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        return [name for name in self._clients if name not in self._known]

    def _fetch(self, name: str) -> None:
        try:
            document = self._clients[name].get_json(PATH)
        except OSError:
            return
        if isinstance(document, dict) and isinstance(document.get("paths"), dict):
            self._known[name] = document


def merge(table: RouteTable, documents: Mapping[str, Document], public_url: str, missing: list[str]) -> Document:
    """Return one OpenAPI 3.1 document of the operations that the table has."""
    paths: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for document in _with_own_names(documents):
        found = dict(_operations(table, document))
        for (path, method), operation in found.items():
            paths.setdefault(path, {})[method] = operation
        used = {tag for operation in found.values() for tag in operation.get("tags", ())}
        tags |= {tag["name"]: tag for tag in document.get("tags", []) if tag["name"] in used}
        schemas |= document.get("components", {}).get("schemas", {})
    schemas["Problem"] = conventions.problem_schema()
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Postern", "version": VERSION, "description": conventions.ABOUT},
        "servers": [{"url": public_url}],
        "tags": list(tags.values()),
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, **conventions.components()},
    }
    return whole | {"x-missing": missing} if missing else whole


def _operations(table: RouteTable, document: Document) -> Iterator[tuple[tuple[str, str], Document]]:
    for path, item in document["paths"].items():
        node = table.find(path)
        for method in METHODS if node else ():
            route = node.routes.get(method.upper()) if node else None
            if node and route and method in item and not route.pattern.endswith("/"):
                operation = _operation(route, method, path, item, set(node.routes))
                yield (route.pattern.replace("…", ""), method), operation


def _operation(route: Route, method: str, path: str, item: Document, neighbours: set[str]) -> Document:
    """Return a service's operation with the names, rights, limit and errors that the table knows."""
    operation = dict(item[method])
    names = dict(zip(_names(path), _names(route.pattern), strict=True))
    parameters = [
        parameter | {"name": names.get(parameter["name"], parameter["name"])}
        if parameter["in"] == "path"
        else parameter
        for parameter in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    operation["parameters"] = parameters
    operation["operationId"] = method + "".join(
        word[0].upper() + word[1:] for word in re.findall(r"\w+", route.pattern.removeprefix("/api"))
    )
    conventions.apply(route, method, operation, neighbours)
    return operation


def _with_own_names(documents: Mapping[str, Document]) -> Iterator[Document]:
    """Yield the documents with schemas renamed where two services mean different things by one name."""
    schemas = {name: document.get("components", {}).get("schemas", {}) for name, document in documents.items()}
    clashing = _clashing(list(schemas.values()))
    for name, document in documents.items():
        text = orjson.dumps(document).decode()
        for schema in clashing & schemas[name].keys():
            text = text.replace(f'"{SCHEMAS}{schema}"', f'"{SCHEMAS}{name.capitalize()}{schema}"')
        renamed: Document = orjson.loads(text)
        own = renamed.get("components", {}).get("schemas", {})
        for schema in clashing & own.keys():
            own[name.capitalize() + schema] = own.pop(schema)
        yield renamed


def _clashing(all_schemas: list[Document]) -> set[str]:
    """Return the names that stand for different schemas, or for schemas that refer to such."""
    clashing: set[str] = set()
    while True:
        seen: dict[str, Any] = {}
        more = set()
        for schemas in all_schemas:
            for name, schema in schemas.items():
                text = orjson.dumps(schema).decode()
                differs = seen.setdefault(name, schema) != schema
                refers = any(f'"{SCHEMAS}{other}"' in text for other in clashing)
                if differs or refers:
                    more.add(name)
        if more <= clashing:
            return clashing
        clashing |= more
