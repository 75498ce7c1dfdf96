"""A small check of OpenAPI documents, and of JSON against their schemas."""

import re
from collections.abc import Iterator
from typing import Any

METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
}  # fmt: skip


def assert_valid(document: dict[str, Any]) -> None:
    """Assert what OpenAPI 3.1 asks of a document: names, parameters, references, responses, security."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert all(server["url"].startswith("http") for server in document["servers"])
    for reference in references(document):
        resolve(document, reference)
    shapes = [re.sub(r"{\w+}", "{}", path) for path in document["paths"]]
    assert len(shapes) == len(set(shapes)), "two paths differ only in the names of their parameters"
    operations = [(path, *entry) for path, item in document["paths"].items() for entry in item.items()]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations:
        assert method in METHODS, path
        _assert_operation(document, path, operation)


def _assert_operation(document: dict[str, Any], path: str, operation: dict[str, Any]) -> None:
    parameters = [(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", [])]
    assert len(parameters) == len(set(parameters)), path
    assert {name for place, name in parameters if place == "path"} == set(re.findall(r"{(\w+)}", path)), path
    for parameter in operation.get("parameters", []):
        assert parameter["in"] in ("path", "query", "header", "cookie")
        assert "schema" in parameter or "content" in parameter
        assert parameter["in"] != "path" or parameter["required"] is True
    if "requestBody" in operation:
        assert operation["requestBody"]["content"], path
    for status, answer in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d|default", status)
        assert resolve(document, answer)["description"], (path, status)
    schemes = document["components"]["securitySchemes"]
    assert all(name in schemes for choice in operation["security"] for name in choice)
    assert set(operation.get("tags", [])) <= {tag["name"] for tag in document["tags"]}


def references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document: dict[str, Any], value: dict[str, Any]) -> Any:
    if "$ref" not in value:
        return value
    found: Any = document
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found


def mismatches(document: dict[str, Any], schema: dict[str, Any], value: Any, place: str = "") -> Iterator[str]:
    """Yield where a value is not what the schema says (of JSON Schema, what our documents use)."""
    schema = resolve(document, schema)
    for part in schema.get("allOf", ()):
        yield from mismatches(document, part, value, place)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and all(list(mismatches(document, choice, value, place)) for choice in choices):
        yield f"{place} is none of the choices"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, kind) for kind in types):
        yield f"{place} is {value!r}, not {types}"
        return
    if value not in schema.get("enum", [schema.get("const", value)]):
        yield f"{place} is {value!r}, which it must not be"
    if isinstance(value, dict):
        yield from _members(document, schema, value, place)
    if isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            yield from mismatches(document, schema["items"], inner, f"{place}.{number}")


def _members(document: dict[str, Any], schema: dict[str, Any], value: dict[str, Any], place: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name in known:
            yield from mismatches(document, known[name], inner, f"{place}.{name}")
        elif others is False:
            yield f"{place}.{name} is unknown"
        elif isinstance(others, dict):
            yield from mismatches(document, others, inner, f"{place}.{name}")


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        wanted = int if kind == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])
