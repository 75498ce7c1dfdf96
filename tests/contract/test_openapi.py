"""What the OpenAPI document says is what the running product answers."""

import re
from typing import Any

import orjson
import pytest

from tests.e2e.stack import SERVICES, Stack, wait_until
from tests.gateway.openapi import assert_valid, mismatches, resolve

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301"
    "0100c9fe92ef0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    wait_until(lambda: "x-missing" not in stack.get("/api/openapi.json")[1], 10)
    found: dict[str, Any] = stack.get("/api/openapi.json")[1]
    return found


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return str(stack.register()["accessToken"])


def test_the_document_of_the_whole_is_valid(document: dict[str, Any]) -> None:
    assert_valid(document)
    tags = {tag["name"] for tag in document["tags"]}
    assert {"posts", "uploads", "me", "hello"} <= tags


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_own_document_needs_the_internal_token(stack: Stack, service: str) -> None:
    assert stack.get("/internal/openapi.json", service=service)[0] == 404
    assert stack.get("/internal/openapi.json")[0] == 404


ASKED: dict[str, tuple[str, str, Any]] = {
    "hello": ("GET", "/api/hello", None),
    "an echo": ("POST", "/api/hello", {"a": [1]}),
    "no echo": ("POST", "/api/hello", b"{"),
    "health": ("GET", "/api/health", None),
    "an error code": ("GET", "/api/errors/NOT_FOUND", None),
    "no error code": ("GET", "/api/errors/X", None),
    "a registration that is wrong": ("POST", "/api/auth/register", {"name": "x"}),
    "a login that is wrong": ("POST", "/api/auth/login", {"email": "nobody@example.com", "password": "12345678"}),
    "one's own account": ("GET", "/api/auth/me", None),
    "a list": ("GET", "/api/posts", None),
    "a list that is wrong": ("GET", "/api/posts?limit=1000", None),
    "a post": ("POST", "/api/posts", {"title": "A title", "content": "Words to be read.", "tags": ["a"]}),
    "a post that is wrong": ("POST", "/api/posts", {"title": ""}),
    "no post": ("GET", "/api/posts/nothing-here", None),
    "uploads": ("GET", "/api/uploads", None),
    "an outside host": ("GET", "/api/proxy/evil.example/x", None),
}


@pytest.mark.parametrize("case", ASKED)
def test_an_answer_is_as_the_document_says(stack: Stack, document: dict[str, Any], token: str, case: str) -> None:
    method, target, body = ASKED[case]
    headers = {"Content_Type": "application/json"} if isinstance(body, bytes) else {}
    answer = stack.request(method, target, body, token, **headers)
    operation = document["paths"][template(document, target)][method.lower()]
    said = resolve(document, operation["responses"][str(answer.status)])
    schema = said["content"][answer.headers["Content-Type"]]["schema"]
    assert not list(mismatches(document, schema, orjson.loads(answer.data)))


def test_an_upload_is_as_the_document_says(stack: Stack, document: dict[str, Any], token: str) -> None:
    uploaded = stack.upload("x.png", PICTURE, token)
    said = document["paths"]["/api/upload"]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
    assert not list(mismatches(document, said, {"success": True, "data": uploaded}))


def template(document: dict[str, Any], target: str) -> str:
    """Return the path of the document that the target belongs to, the one with the fewest parameters."""
    path = target.partition("?")[0]
    paths: list[str] = sorted(document["paths"], key=lambda known: known.count("{"))
    shapes = {known: re.sub(r"{path}", ".+", known).replace("{", "(?P<").replace("}", ">[^/]+)") for known in paths}
    return next(known for known, shape in shapes.items() if re.fullmatch(shape, path))


def test_the_check_itself_finds_what_is_wrong(document: dict[str, Any]) -> None:
    schema = document["paths"]["/api/hello"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert list(mismatches(document, schema, {"success": "yes", "data": {"message": 1, "more": 2}})) == [
        ".success is 'yes', not ['boolean']", ".data.message is 1, not ['string']", ".data.more is unknown",
    ]  # fmt: skip
