"""Make an example of what a schema of the document describes."""

import re
from typing import Any

Document = dict[str, Any]
ID = "0198c1f2-6d3e-7a4b-8c5d-9e0f1a2b3c4d"
FORMATS = {
    "date-time": "2026-01-31T09:30:00Z",
    "email": "ann@example.com",
    "uuid": ID,
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "binary": "",
}
NAMED = {
    "email": "ann@example.com",
    "name": "Ann Smith",
    "password": "a long secret",
    "oldPassword": "a long secret",
    "newPassword": "a longer secret",
    "slug": "a-first-post",
    "title": "A first post",
    "subject": "A question",
    "filename": "picture.png",
    "code": "NOT_FOUND",
    "mimeType": "image/png",
    "coverImage": ID,
    "avatar": ID,
    "user": ID,
}
WORDS = "Some words to read. "
DEEPEST = 5


def example(components: Document, schema: Document, name: str = "", depth: int = 0) -> Any:
    """Return a value as the schema wants it; `name` is that of the member, which tells what a text may be."""
    if "$ref" in schema:
        return example(components, components[schema["$ref"].rpartition("/")[2]], name, depth)
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if choices := schema.get("allOf") or schema.get("anyOf") or schema.get("oneOf"):
        return example(components, choices[0], name, depth)
    kinds = schema.get("type", "null")
    return _of_type(components, schema, name, depth, kinds if isinstance(kinds, str) else kinds[0])


def _of_type(components: Document, schema: Document, name: str, depth: int, kind: str) -> Any:
    if kind == "object":
        members = schema.get("properties", {}) if depth < DEEPEST else {}
        return {key: example(components, inner, key, depth + 1) for key, inner in members.items()}
    if kind == "array":
        known = "items" in schema and depth < DEEPEST
        return [example(components, schema["items"], name, depth + 1)] if known else []
    if kind == "string":
        return _text(schema, name)
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), 1)
    return {"boolean": True}.get(kind)


def _text(schema: Document, name: str) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    if re.search("(^i|I)d$", name):
        return ID
    text = NAMED.get(name, WORDS)
    text *= -(-schema.get("minLength", 0) // len(text)) or 1
    return text[: schema.get("maxLength", len(text))].strip()
