"""Merge the OpenAPI documents of the services into one of all public routes.

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
MAX_AGE = 60.0  # seconds; a document changes with a new release only
MAX_AGE_INCOMPLETE = 2.0
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
VERBS = {"post": "create", "put": "replace", "patch": "update"}
_names = re.compile(r"\{(\w+)…?\}").findall
_references = re.compile(f'"{SCHEMAS}(\\w+)"').findall
Document = dict[str, Any]


class Documents:
    """The merged document, fetched from all services in parallel; cached for a minute, and while a service is down."""

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
                self._until = time.monotonic() + (MAX_AGE_INCOMPLETE if missing else MAX_AGE)
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
    """Return one OpenAPI 3.1 document of the operations in the route table."""
    paths: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    responses: dict[str, Any] = {}
    for document in documents.values():
        found = dict(_operations(table, document, responses))
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
        "components": {"schemas": _used(schemas, [paths, responses]), **conventions.components(responses)},
    }
    return whole | {"x-missing": missing} if missing else whole


def _used(schemas: Document, users: list[Any]) -> Document:
    """Return the referenced schemas in alphabetical order; others belong to routes that are not public."""
    names: set[str] = set()
    while more := {*_references(orjson.dumps(users).decode())} - names:
        names |= more
        users = [schemas[name] for name in more]
    return {name: schemas[name] for name in sorted(names)}


def _operations(
    table: RouteTable, document: Document, responses: Document
) -> Iterator[tuple[tuple[str, str], Document]]:
    for path, item in document["paths"].items():
        node = table.find(path)
        for method in METHODS if node else ():
            route = node.routes.get(method.upper()) if node else None
            if node and route and method in item and not route.pattern.endswith("/"):
                operation = _operation(route, method, path, item)
                conventions.apply(route, method, operation, set(node.routes), responses)
                yield (route.pattern.replace("…", ""), method), operation


def _operation(route: Route, method: str, path: str, item: Document) -> Document:
    """Return a service's operation with the parameter names and operationId of the route table."""
    operation = dict(item[method])
    names = dict(zip(_names(path), _names(route.pattern), strict=True))
    parameters = [
        parameter | {"name": names.get(parameter["name"], parameter["name"])}
        if parameter["in"] == "path"
        else parameter
        for parameter in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    operation["parameters"] = parameters
    operation["operationId"] = route.names.get(method) or operation_id(method, route.pattern)
    return operation


def operation_id(method: str, pattern: str) -> str:
    """Return a verb and the nouns of the path: `listPosts`, `createPost` of /api/posts, `getPost` of /api/posts/{id}.

    A row of the table has another name where this is not what the operation does.
    """
    segments = pattern.removeprefix("/api").strip("/").split("/")
    is_list = not segments[-1].startswith("{")
    words = [segment for segment in segments if not segment.startswith("{")]
    verb = "list" if is_list and method == "get" else VERBS.get(method, method)
    nouns = [*map(_singular, words[:-1]), words[-1] if verb == "list" else _singular(words[-1])]
    return verb + "".join(noun.capitalize() for noun in nouns)


def _singular(noun: str) -> str:
    return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
