"""Whether an OpenAPI document is valid, and whether answers are as it says."""

import re
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import orjson
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

Document = dict[str, Any]
JSON = re.compile(r"application/(problem\+)?json").fullmatch
# Of any layer, to any request; and what an operation that the document does not have is refused with.
ANYWHERE = frozenset((405, 414, 431, 501, 505))


def assert_valid(document: Document) -> None:
    """Assert that it is OpenAPI 3.1, and what that leaves open: unique shapes of paths, known tags and schemes."""
    assert [
        error.message for error in OpenAPIV31SpecValidator(cast("Mapping[Hashable, Any]", document)).iter_errors()
    ] == []
    shapes = [re.sub(r"{\w+}", "{}", path) for path in document["paths"]]
    assert len(shapes) == len(set(shapes)), "two paths differ only in the names of their parameters"
    for _, _, operation in operations(document):
        assert set(operation.get("tags", [])) <= {tag["name"] for tag in document["tags"]}
        schemes = document["components"]["securitySchemes"]
        assert all(name in schemes for choice in operation["security"] for name in choice)


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def resolve(document: Document, value: Document) -> Document:
    """Follow a reference."""
    found: Any = document
    if "$ref" not in value:
        return value
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key.replace("~1", "/").replace("~0", "~")]
    return dict(found)


def mismatches(document: Document, schema: Document, value: Any) -> list[str]:
    """Return where a value is not what the schema says."""
    whole = schema | {"components": document["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


class Described:
    """The answers that a document promises."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        paths = sorted(document["paths"], key=lambda path: path.count("{"))
        shapes = {path: re.sub(r"{path}", ".+", path).replace("{", "(?P<").replace("}", ">[^/]+)") for path in paths}
        self._shapes = {path: re.compile(shape).fullmatch for path, shape in shapes.items()}
        self._template = lru_cache(self._find)

    def _find(self, path: str) -> str | None:
        return next((known for known, fits in self._shapes.items() if fits(path)), None)

    def objections(self, method: str, target: str, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Return what is not as promised about the answer to a request; nothing for what is not in the document."""
        template = self._template(target.partition("?")[0])
        item = self.document["paths"].get(template, {})
        operation = item.get(method.lower()) or (item.get("get") if method == "HEAD" else None)
        if operation is None or status in ANYWHERE:
            return []
        self.seen.add((method, str(template), status))
        said = operation["responses"].get(str(status)) or operation["responses"].get("default")
        if said is None:
            return [f"{status} is not documented"]
        said = resolve(self.document, said)
        missing = [
            f"the header {name} is missing"
            for name, header in said.get("headers", {}).items()
            if resolve(self.document, header).get("required") and name not in headers
        ]
        return missing + ([] if method == "HEAD" else self._of_body(said, headers.get("Content-Type", ""), body))

    def _of_body(self, said: Document, kind: str, body: bytes) -> list[str]:
        content = said.get("content", {})
        kind = kind.partition(";")[0]
        if not body:
            return []
        if kind == "text/html" and "application/problem+json" in content:
            return []  # of a form that was refused, as `info` says
        described = content.get(kind) or content.get("*/*")
        if described is None:
            return [f"{kind or 'no type'} is not documented"]
        if "schema" not in described or not JSON(kind):
            return []
        return mismatches(self.document, described["schema"], orjson.loads(body))
