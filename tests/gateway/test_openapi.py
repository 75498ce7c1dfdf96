"""One document of all services, and the page that shows it."""

import importlib
import re
from typing import Any

import orjson
import pytest

from services.gateway.config import Config
from services.gateway.openapi.merge import merge
from services.gateway.pages.docs import ASSETS, MEDIA_TYPES, VERSION
from services.gateway.routes import ROUTES, SERVICES, RouteTable, row
from shared.problems import CODES
from shared.service import service_of
from tests.gateway.conftest import StartGateway
from tests.gateway.upstreams import Line, Upstream, json_response, response
from tests.gateway.wsgi_client import WsgiClient
from tests.openapi import assert_valid, mismatches, operations, resolve

Document = dict[str, Any]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """What each service says of itself."""
    environ = {"APP_ENV": "test", "DATA_DIR": str(tmp_path_factory.mktemp("services"))}
    return {name: own_document(name, environ) for name in ("gateway", *SERVICES)}


def own_document(name: str, environ: dict[str, str]) -> Document:
    config = importlib.import_module(f"services.{name}.config").Config.load(environ)
    app = importlib.import_module(f"services.{name}.app").create_app(config)
    with app.app_context():
        document: Document = orjson.loads(orjson.dumps(service_of(app).document()))
    return document


@pytest.fixture(scope="module")
def merged(documents: dict[str, Document]) -> Document:
    return merge(RouteTable(), documents, "https://postern.example", [])


def test_the_document_is_valid(merged: Document) -> None:
    assert_valid(merged)
    assert merged["servers"] == [{"url": "https://postern.example"}]


def test_every_route_that_a_service_has_is_in_it(documents: dict[str, Document], merged: Document) -> None:
    table = RouteTable()
    shapes = {(re.sub(r"{\w+}", "{}", path), method) for path, item in merged["paths"].items() for method in item}
    missing = []
    for document in documents.values():
        for path, item in document["paths"].items():
            node = table.find(path)
            for method in set(item) - {"parameters"}:
                reachable = node and method.upper() in node.routes and not path.endswith("/")
                if reachable and (re.sub(r"{\w+}", "{}", path), method) not in shapes:
                    missing.append((method, path))
    assert not missing
    assert len(shapes) >= 20


def test_nothing_is_in_it_that_the_table_does_not_have(merged: Document) -> None:
    rows = {(route.pattern.replace("…", ""), method.lower()) for route in ROUTES for method in route.methods}
    heads = {(path, "head") for path, method in rows if method == "get"}
    assert {(path, method) for path, item in merged["paths"].items() for method in item} <= rows | heads
    assert not [path for path in merged["paths"] if "internal" in path or path in ("/healthz", "/readyz")]


def test_rights_limits_and_errors_are_those_of_the_table(merged: Document) -> None:
    writing = merged["paths"]["/api/posts/{id}"]["put"]
    assert writing["security"] == [{"bearer": []}, {"cookie": []}]
    assert {"400", "401", "403", "404", "412", "413", "429", "502", "503", "504"} <= writing["responses"].keys()
    assert writing["x-rate-limit"] == {"name": "general", "requests": 100, "seconds": 60}
    reading = merged["paths"]["/api/posts/{id}"]["get"]
    assert reading["security"] == [{}, {"bearer": []}, {"cookie": []}]
    assert merged["paths"]["/api/auth/login"]["post"]["security"] == []
    parameters = [resolve(merged, parameter) for parameter in writing["parameters"]]
    assert [parameter["name"] for parameter in parameters] == ["id", "If-Match"]


def test_headers_that_are_worth_knowing_are_told(merged: Document) -> None:
    def of(method: str, path: str, status: str) -> tuple[set[str], set[str]]:
        operation = merged["paths"][path][method]
        parameters = [resolve(merged, parameter) for parameter in operation["parameters"]]
        answer = resolve(merged, operation["responses"][status])
        return {p["name"] for p in parameters if p["in"] == "header"}, set(answer["headers"]) - {"X-Request-ID"}

    limits = {"RateLimit", "RateLimit-Policy"}
    assert of("get", "/api/posts", "200") == (set(), limits | {"Link"})
    assert of("get", "/api/posts/{id}", "200") == ({"If-None-Match"}, limits | {"ETag"})
    assert of("get", "/api/posts/{id}", "304") == ({"If-None-Match"}, {"ETag"})
    assert of("patch", "/api/posts/{id}", "200") == ({"If-Match"}, limits | {"ETag"})
    assert of("delete", "/api/posts/{id}", "204") == ({"If-Match"}, limits)
    assert of("delete", "/api/auth/sessions/{id}", "204") == (set(), limits)
    created = limits | {"ETag", "Location", "Idempotency-Replayed"}
    assert of("post", "/api/posts", "201") == ({"Idempotency-Key"}, created)
    assert of("post", "/api/posts", "303") == ({"Idempotency-Key"}, limits | {"Location"})
    assert of("post", "/api/posts", "429")[1] == {"Retry-After"}
    assert of("get", "/api/auth/me", "401")[1] == {"WWW-Authenticate"}


def test_a_route_that_takes_forms_says_so(merged: Document) -> None:
    writing = merged["paths"]["/api/posts"]["post"]
    assert set(writing["requestBody"]["content"]) == {"application/json", "application/x-www-form-urlencoded"}
    assert set(resolve(merged, writing["responses"]["400"])["content"]) == {"application/problem+json", "text/html"}
    reading = merged["paths"]["/api/posts"]["get"]
    assert set(resolve(merged, reading["responses"]["400"])["content"]) == {"application/problem+json"}


def test_every_operation_says_what_it_does_and_examples_of_bodies_fit(merged: Document) -> None:
    assert not [(path, method) for path, method, operation in operations(merged) if not operation.get("summary")]
    bodies = [
        (path, described)
        for path, _, operation in operations(merged)
        for holder in (operation.get("requestBody", {}), *operation["responses"].values())
        for described in resolve(merged, holder).get("content", {}).values()
        if "example" in described
    ]
    assert len(bodies) > 100
    wrong = {path: mismatches(merged, described["schema"], described["example"]) for path, described in bodies}
    assert not {path: found for path, found in wrong.items() if found}


def test_answers_say_which_members_are_always_there(merged: Document) -> None:
    schemas = merged["components"]["schemas"]
    answered = {
        name
        for _, _, operation in operations(merged)
        for status, answer in operation["responses"].items()
        for name in re.findall(r"schemas/(\w+)", orjson.dumps(answer).decode() if status < "3" else "")
    }
    size = 0
    while size < (size := len(answered)):
        answered |= set(re.findall(r"schemas/(\w+)", orjson.dumps([schemas[name] for name in answered]).decode()))
    optional = {
        f"{name}.{member}"
        for name in answered
        for member in schemas[name]["properties"].keys() - set(schemas[name].get("required", ()))
    }
    assert optional == {
        "Check.breaker", "Comment.replies", "PostItem.highlight", "PostsPost.highlight",
        "Upload.height", "Upload.width", "Uploads.height", "Uploads.width", "UploadsListEnvelope.pagination",
        "MessagesNotification.actor", "MessagesNotification.commentId", "MessagesNotification.likes",
        "MessagesNotification.post", "MessagesNotification.role",
        "Signin.accessToken", "Signin.expiresIn", "Signin.refreshToken", "Signin.tokenType",
    }  # fmt: skip


def test_every_error_code_is_in_it(merged: Document) -> None:
    text = orjson.dumps(merged["components"]["responses"]).decode()
    assert not [code for code in CODES if f"`{code}`" not in text]
    assert merged["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(CODES)


def a_document(path: str, properties: Document, extra: Document | None = None) -> Document:
    schema = {"$ref": "#/components/schemas/Holder"}
    operation = {"responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}}
    holder = {"type": "object", "properties": {"thing": {"$ref": "#/components/schemas/Thing"}}}
    schemas = {"Thing": {"type": "object", "properties": properties}, "Holder": holder, "Same": {"type": "string"}}
    return {"paths": {path: {"get": operation}}, "components": {"schemas": schemas | (extra or {})}, "tags": []}


def test_two_things_of_one_name_get_two_names() -> None:
    table = RouteTable([row("GET", "/a", upstream="one"), row("GET", "/b", upstream="two")])
    documents = {
        "one": a_document("/a", {"x": {"type": "string"}}),
        "two": a_document("/b", {"y": {"type": "integer"}}),
    }
    merged = merge(table, documents, "https://x.example", [])
    assert_valid(merged)
    schemas = merged["components"]["schemas"]
    assert {"OneThing", "TwoThing", "OneHolder", "TwoHolder", "Same"} <= schemas.keys()
    assert schemas["TwoHolder"]["properties"]["thing"] == {"$ref": "#/components/schemas/TwoThing"}
    used = merged["paths"]["/b"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert used == {"$ref": "#/components/schemas/TwoHolder"}


def test_what_the_table_does_not_have_is_left_out() -> None:
    table = RouteTable([row("GET", "/a", upstream="one")])
    document = a_document("/a", {})
    document["paths"]["/a"]["delete"] = document["paths"]["/a"]["get"]
    document["paths"]["/internal/secret"] = document["paths"]["/a"]
    merged = merge(table, {"one": document}, "https://x.example", [])
    assert {path: list(item) for path, item in merged["paths"].items()} == {"/a": ["get"]}


def test_it_is_read_from_the_services_with_the_internal_token(
    start_gateway: StartGateway, settings: dict[str, str], posts: Upstream
) -> None:
    def document(line: Line) -> None:
        while line.read():
            line.send(json_response(a_document("/api/tags", {})))

    posts.behaviour = document
    client = start_gateway()
    client.get("/api/openapi.json")
    answer = client.get("/api/openapi.json")
    assert "get" in answer.json["paths"]["/api/tags"]
    assert "/api/hello" in answer.json["paths"]
    (request,) = posts.received
    assert request.target == "/internal/openapi.json"
    assert request.header("authorization") == f"Bearer {Config.load(settings).internal_token}"


@pytest.mark.parametrize("answer", [b"garbage", response(b"[]"), response(b"{}", "500 Internal Server Error")])
def test_a_service_that_is_down_is_marked(start_gateway: StartGateway, uploads: Upstream, answer: bytes) -> None:
    uploads.behaviour = lambda line: line.send(answer) if line.read() else None
    document = start_gateway().get("/api/openapi.json")
    assert document.status == 200
    assert "uploads" in document.json["x-missing"]
    assert_valid(document.json)


def test_the_document_is_not_sent_twice(client: WsgiClient) -> None:
    first = client.get("/api/openapi.json")
    again = client.get("/api/openapi.json", {"If-None-Match": str(first.header("ETag"))})
    assert (first.header("Content-Type"), again.status, again.body) == ("application/json", 304, b"")


def test_the_page_runs_only_scripts_of_the_gateway(client: WsgiClient) -> None:
    answer = client.get("/api/docs")
    policy = str(answer.header("Content-Security-Policy")).split("; ")
    assert (answer.status, answer.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|https?:", answer.body.decode())
    targets = re.findall(r'(?:src|href)="([^"]+)"', answer.body.decode())
    assert [client.get(target).status for target in targets] == [200, 200, 200]


@pytest.mark.parametrize("target", ["/api/hello", "/api/openapi.json", "/api/errors/NOT_FOUND", "/verify-email"])
def test_other_answers_allow_no_inline_style(client: WsgiClient, target: str) -> None:
    policy = str(client.get(target, {"Accept": "text/html"}).header("Content-Security-Policy") or "")
    assert "unsafe-inline" not in policy
    assert "data:" not in policy


@pytest.mark.parametrize(
    "target, rule",
    [
        ("/api/docs", "no-cache"),
        ("/api/docs/docs.js", "public, max-age=60"),
        (f"/api/docs/{VERSION}/swagger-ui.css", "public, max-age=31536000, immutable"),
        (f"/api/docs/{VERSION}/swagger-ui-bundle.js", "public, max-age=31536000, immutable"),
    ],
)
def test_a_file_of_the_page_may_be_kept(client: WsgiClient, target: str, rule: str) -> None:
    whole = client.get(target)
    assert whole.status == 200
    assert sorted(str(whole.header("Cache-Control")).split(", ")) == sorted(rule.split(", "))
    head = client.request("HEAD", target)
    assert (head.status, head.header("Content-Length"), head.body) == (200, str(len(whole.body)), b"")
    again = client.get(target, {"If-None-Match": str(whole.header("ETag"))})
    assert (again.status, again.body) == (304, b"")
    assert again.header("Cache-Control") == whole.header("Cache-Control")


@pytest.mark.parametrize("name, kind", MEDIA_TYPES.items())
def test_files_of_swagger_ui_are_those_of_the_package(client: WsgiClient, name: str, kind: str) -> None:
    answer = client.get(f"/api/docs/{VERSION}/{name}")
    assert answer.body == (ASSETS / name).read_bytes()
    assert answer.header("Content-Type") == f"{kind}; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "docs.html", "docs.css", "swagger-ui.css", "0.0.0/swagger-ui.css", f"{VERSION}/index.css", f"{VERSION}/LICENSE",
        f"{VERSION}/docs.js", f"{VERSION}/", f"{VERSION}/..%2f__init__.py", f"{VERSION}/../docs.js/x", "../docs.py",
    ],
)  # fmt: skip
def test_no_other_file_is_served(client: WsgiClient, path: str) -> None:
    assert client.get(f"/api/docs/{path}").status in (400, 404)
