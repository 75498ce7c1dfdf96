"""Merge the services' own OpenAPI documents into one of the whole, as the route table lets the public see it.

The table decides: an operation without a row is left out; names of paths and rights are those of the table.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from services.gateway.health import VERSION
from services.gateway.limits import CLASSES
from services.gateway.routes import Route, RouteTable, Who
from shared.internal import InternalClient
from shared.problems import CODES, CONTENT_TYPE, reason

PATH = "/internal/openapi.json"
KEEP = 60.0  # seconds; a document changes with a new release only
KEEP_INCOMPLETE = 2.0
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
SCHEMAS = "#/components/schemas/"
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "authToken",
        "description": "Unsafe methods also need the header X-CSRF-Token, equal to the cookie csrfToken.",
    },
}
SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
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
    schemas["Problem"] = _problem_schema()
    whole: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Postern", "version": VERSION, "description": "All that the gateway serves."},
        "servers": [{"url": public_url}],
        "tags": list(tags.values()),
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, "responses": _problems(), "securitySchemes": SECURITY_SCHEMES},
    }
    return whole | {"x-missing": missing} if missing else whole


def _operations(table: RouteTable, document: Document) -> Iterator[tuple[tuple[str, str], Document]]:
    for path, item in document["paths"].items():
        node = table.find(path)
        for method in METHODS if node else ():
            route = node.routes.get(method.upper()) if node else None
            if route and method in item and not route.pattern.endswith("/"):
                operation = _operation(route, method, path, item)
                yield (route.pattern.replace("…", ""), method), operation


def _operation(route: Route, method: str, path: str, item: Document) -> Document:
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
    operation["security"] = SIGNED_IN if route.who else [{}, *SIGNED_IN] if route.reads_token else []
    if route.who > Who.USER:
        operation["x-role"] = route.who.name.lower()
    if route.limit:
        limit = CLASSES[route.limit]
        operation["x-rate-limit"] = {"name": limit.name, "requests": limit.quota, "seconds": limit.window}
    said = {status: answer for status, answer in operation.get("responses", {}).items() if "$ref" not in answer}
    errors = {str(status): {"$ref": f"#/components/responses/{status}"} for status in _errors(route, method, operation)}
    operation["responses"] = (
        ({} if any(status < "4" for status in said) else {"200": {"description": "OK"}}) | errors | said
    )
    return operation


def _errors(route: Route, method: str, operation: Document) -> list[int]:
    """Return the statuses of errors that any operation of such a kind can end with."""
    signs_in = route.pattern.startswith("/api/auth/")
    statuses = [400, 500]
    statuses += [401] if route.reads_token or signs_in else []
    statuses += [403] if route.who or signs_in else []
    statuses += [404] if "{" in route.pattern else []
    statuses += [412] if "{" in route.pattern and method in ("put", "patch", "delete") else []
    statuses += [409, 422] if (route.who or signs_in) and method == "post" else []
    statuses += [408, 413, 415] if "requestBody" in operation else []
    statuses += [429] if route.limit else []
    statuses += [502, 503, 504] if route.upstream or "{domain}" in route.pattern else []
    return sorted(statuses)


def _problems() -> Document:
    """Return a response for every status of an error, with its codes."""
    responses: Document = {}
    for status in sorted({kind.status for kind in CODES.values()}):
        codes = {code: kind for code, kind in CODES.items() if kind.status == status}
        told = " ".join(f"`{code}`: {kind.title}. {kind.advice}" for code, kind in codes.items())
        schema = {
            "allOf": [{"$ref": SCHEMAS + "Problem"}],
            "properties": {"status": {"const": status}, "code": {"enum": list(codes)}},
        }
        content = {CONTENT_TYPE: {"schema": schema}}
        responses[str(status)] = {"description": f"{reason(status)}. {told}", "content": content}
    return responses


def _problem_schema() -> Document:
    text, number, texts = {"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "string"}}
    members = {
        "success": {"const": False},
        "type": {"type": "string", "format": "uri"},
        "title": text,
        "status": number,
        "detail": text,
        "instance": text,
        "code": {"type": "string", "enum": list(CODES)},
        "requestId": text,
    }
    extras = {
        "errors": {"type": "object", "additionalProperties": texts},
        "retryAfter": {"type": "number"},
        "allowedMethods": texts,
        "allowedDomains": texts,
        "allowedTypes": texts,
        "maxSize": number,
        "violated-policies": texts,
    }
    about = "The one shape of every error (RFC 9457)."
    return {"type": "object", "description": about, "required": list(members), "properties": members | extras}


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
