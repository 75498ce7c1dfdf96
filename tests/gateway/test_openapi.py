"""One document of all services, and the page that shows it."""

import importlib
import re
from pathlib import Path
from typing import Any

import marshmallow as ma
import orjson
import pytest
from flask import Flask

from services.gateway.config import Config
from services.gateway.openapi.merge import merge
from services.gateway.pages.docs import ASSETS, MEDIA_TYPES, VERSION
from services.gateway.routes import ROUTES, SERVICES, RouteTable, row
from shared.problems import CODES
from shared.service import service_of
from shared.web.blueprint import Blueprint
from shared.web.openapi import describing
from shared.web.schema import AnswerSchema
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
    assert [parameter["name"] for parameter in parameters] == ["id", "X-Request-ID", "X-CSRF-Token", "If-Match"]


def test_headers_that_are_worth_knowing_are_told(merged: Document) -> None:
    def of(method: str, path: str, status: str) -> tuple[set[str], set[str]]:
        operation = merged["paths"][path][method]
        parameters = [resolve(merged, parameter) for parameter in operation["parameters"]]
        answer = resolve(merged, operation["responses"][status])
        asked = {p["name"] for p in parameters if p["in"] == "header"}
        assert "X-Request-ID" in asked
        assert ("X-CSRF-Token" in asked) == (method != "get")
        return asked - {"X-Request-ID", "X-CSRF-Token"}, set(answer["headers"]) - {"X-Request-ID"}

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
    assert of("get", "/api/files/{userId}/{path}", "206")[0] == {"Range", "If-Range"}
    assert "Last-Event-ID" in of("get", "/api/events", "200")[0]
    query = [p["name"] for p in merged["paths"]["/api/events"]["get"]["parameters"] if p.get("in") == "query"]
    assert query == ["topics", "lastEventId", "ticket", "names"]


def test_a_route_that_takes_forms_says_so(merged: Document) -> None:
    writing = merged["paths"]["/api/posts"]["post"]
    assert set(writing["requestBody"]["content"]) == {"application/json", "application/x-www-form-urlencoded"}
    # A page has no code: were it in the document, no client could read the code of a problem without a cast.
    for _, _, operation in operations(merged):
        for status, answer in operation["responses"].items():
            content = resolve(merged, answer).get("content", {})
            assert "application/problem+json" not in content or len(content) == 1, status


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
        for member in schemas[name].get("properties", {}).keys() - set(schemas[name].get("required", ()))
    }
    assert optional == {
        "GatewayCheck.breaker", "PostsComment.replies", "PostsPostItem.highlight", "PostsPost.highlight",
        "UploadsUpload.height", "UploadsUpload.width", "AuthRegistration.accessToken", "AuthRegistration.expiresIn",
        "AuthRegistration.refreshToken", "AuthRegistration.tokenType",
    }  # fmt: skip


def codes(document: Document, method: str, path: str) -> set[str]:
    """Return the codes of problems that an operation is documented to end with."""
    answers = [resolve(document, answer) for answer in document["paths"][path][method]["responses"].values()]
    contents = [answer.get("content", {}).get("application/problem+json") for answer in answers]
    return {code for content in contents if content for code in content["schema"]["properties"]["code"]["enum"]}


def test_an_operation_has_the_codes_that_it_can_end_with(merged: Document) -> None:
    assert merged["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(CODES)
    anywhere = {"BAD_REQUEST", "VALIDATION_ERROR", "URI_TOO_LONG", "HEADERS_TOO_LARGE", "INTERNAL_ERROR"}
    behind = {"RATE_LIMITED", "BAD_GATEWAY", "SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT"}
    token, csrf = {"UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED"}, {"CSRF_FAILED"}
    body = {"INVALID_JSON", "REQUEST_TIMEOUT", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "STORAGE_FULL"}
    assert codes(merged, "get", "/api/posts") == anywhere | behind | token
    edit = {"NOT_FOUND", "PRECONDITION_FAILED", "FORBIDDEN", "CONFLICT"}
    assert codes(merged, "patch", "/api/posts/{id}") == anywhere | behind | token | csrf | body | edit
    login = {"INVALID_CREDENTIALS", "EMAIL_NOT_VERIFIED", "ACCOUNT_SUSPENDED"}
    assert codes(merged, "post", "/api/auth/login") == anywhere | behind | csrf | body | login
    pictures = [path for path in merged["paths"] for method in ("post",) if method in merged["paths"][path]]
    takes_images = {path for path in pictures if "INVALID_IMAGE" in codes(merged, "post", path)}
    assert takes_images == {"/api/upload", "/api/uploads", "/api/uploads/tus", "/api/files/{userId}/{path}"}


def test_names_of_operations_stay(merged: Document) -> None:
    """Clients are generated from them: a change of this file is a breaking change."""
    known = (Path(__file__).parent / "operation_ids.txt").read_text().splitlines()
    named = [f"{method.upper()} {path} {operation['operationId']}" for path, method, operation in operations(merged)]
    assert sorted(named) == known
    assert len({name.split()[-1] for name in named}) == len(named)
    assert all(re.fullmatch("[a-z][A-Za-z]+", name.split()[-1]) for name in named)


def test_names_of_schemas_carry_their_service(documents: dict[str, Document], merged: Document) -> None:
    names = set(merged["components"]["schemas"])
    owners = tuple(name.capitalize() for name in documents)
    assert {name for name in names if not name.startswith(owners)} == {"Empty", "Pagination", "Problem"}
    assert all(
        re.fullmatch("[A-Za-z]+", name) for part in merged["components"].values() for name in part if "-" not in name
    )
    without = merge(RouteTable(), {"posts": documents["posts"]}, "https://x.example", [])["components"]["schemas"]
    assert without == {name: schema for name, schema in merged["components"]["schemas"].items() if name in without}
    assert "PostsPost" in without


def test_another_service_changes_no_name(documents: dict[str, Document], merged: Document) -> None:
    app = Flask("services.shop")
    blp = Blueprint("things", __name__, url_prefix="/things", description="Things")
    for name in ("Comment", "User", "Post"):
        kind = type(
            f"{name}Schema", (AnswerSchema,), {"__module__": "services.shop.schemas", "of": ma.fields.Integer()}
        )
        blp.route(f"/{name}", endpoint=name)(blp.response(200, kind)(lambda: None))
    app.register_blueprint(blp)
    shop = describing(app, "Shop", [blp])()
    table = RouteTable([*ROUTES, *(row("GET", f"/things/{name}", "shop") for name in ("Comment", "User", "Post"))])
    both = merge(table, {"shop": shop} | documents, "https://postern.example", [])["components"]
    assert both["schemas"].items() >= merged["components"]["schemas"].items()
    more = both["schemas"].keys() - merged["components"]["schemas"].keys()
    assert {"ShopComment", "ShopUser", "ShopPost"} <= more
    assert both["responses"] == merged["components"]["responses"]


def test_bodies_say_what_generators_of_clients_need(merged: Document) -> None:
    schemas = merged["components"]["schemas"]
    envelopes = [schema["properties"]["success"] for name, schema in schemas.items() if name.endswith("Envelope")]
    assert envelopes == [{"type": "boolean", "const": True}] * len(envelopes)
    assert schemas["Problem"]["properties"]["success"] == {"const": False}
    text = orjson.dumps(schemas).decode()
    assert '"default"' not in text  # which would make a member of a request a required one
    assert '"format":"url"' not in text
    untyped = [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, shape in schema.get("properties", {}).items()
        if not shape.keys() & {"type", "$ref", "const", "allOf", "anyOf", "oneOf"}
    ]
    assert untyped == ["GatewayEcho.received"]
    for name, member in (("AuthUser", "role"), ("AuthAdminUser", "status"), ("AuthAuditEvent", "kind")):
        assert schemas[name]["properties"][member]["enum"]
    assert schemas["PostsPostCreate"]["properties"]["content"]["minLength"] == 10
    for name in ("MessagesNotification", "MessagesEvent"):
        mapping = schemas[name]["discriminator"]["mapping"]
        for kind, reference in mapping.items():
            assert kind in schemas[reference.rpartition("/")[2]]["properties"]["type"]["enum"]


def a_document(path: str, properties: Document, extra: Document | None = None) -> Document:
    schema = {"$ref": "#/components/schemas/Holder"}
    operation = {"responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}}
    holder = {"type": "object", "properties": {"thing": {"$ref": "#/components/schemas/Thing"}}}
    schemas = {"Thing": {"type": "object", "properties": properties}, "Holder": holder, "Same": {"type": "string"}}
    return {"paths": {path: {"get": operation}}, "components": {"schemas": schemas | (extra or {})}, "tags": []}


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
