"""The OpenAPI descriptions that all operations of a kind share.

A service describes its own operations. This module adds roles, rate limits, errors and common headers.
"""

from typing import Any

from services.gateway.rate_limit.classes import CLASSES
from services.gateway.routes import Route
from shared.identity.csrf import FORM
from shared.identity.roles import USER
from shared.problems import CODES, CONTENT_TYPE, reason
from shared.web.request_parser import JSON

Document = dict[str, Any]
SCHEMAS = "#/components/schemas/"
SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "authToken",
        "description": "Unsafe methods also need the header X-CSRF-Token, equal to the cookie csrfToken.",
    },
}
ABOUT = """The public API of all services behind the gateway.

Each success is `{"success": true, "data": …}`, for lists with `pagination`. Each error is a problem of RFC 9457 with a
`code`, which `/api/errors/{code}` explains; a browser that sent an HTML form gets it as a page. Lists take `page` and
`limit`, or `cursor`, and have a `Link` header. A single resource has an `ETag`. Send it as `If-None-Match` to get 304
for an unchanged resource, and as `If-Match` with PUT, PATCH and DELETE to prevent lost updates. `Idempotency-Key` makes
a POST safe to retry. `X-Request-ID`, from the request or generated, is in each response and log line. HEAD works
wherever GET does. `RateLimit` says how many requests are left."""


def _header(text: str, example: str, *, always: bool = True) -> Document:
    return {"description": text, "required": always, "schema": {"type": "string"}, "example": example}


HEADERS = {
    "X-Request-ID": _header("The id of the request in all logs.", "6f1c2a9b0d3e4f5a6b7c8d9e"),
    "RateLimit-Policy": _header("The limit that counts here.", '"general";q=100;w=60', always=False),
    "RateLimit": _header(
        "How many requests are left, and in how many seconds more.", '"general";r=57;t=21', always=False
    ),
    "ETag": _header("The version of the resource, and a digest of this response.", '"3.5d41402abc4b2a76"'),
    "Link": _header("The first, previous, next and last page (RFC 8288).", '</api/posts?page=2>; rel="next"'),
    "Location": _header("Where the new resource is.", "/api/posts/0198c1f2-6d3e-7a4b-8c5d-9e0f1a2b3c4d"),
    "Idempotency-Replayed": _header("The response to an earlier request with the same key.", "true", always=False),
    "Retry-After": _header("Seconds after which to try again.", "21", always=False),
    "WWW-Authenticate": _header("How to sign in.", "Bearer"),
}
PARAMETERS = {
    "If-None-Match": "An ETag: 304 without a body when nothing has changed.",
    "If-Match": "An ETag: 412 when somebody else has edited the resource since.",
    "Idempotency-Key": "1 to 255 characters of your own: the same key and body get the first response again, for 24 h.",
    "X-CSRF-Token": "Equal to the cookie csrfToken, where the session is in cookies.",
    "X-Request-ID": "Up to 128 characters of your own, to find the request in logs by.",
    "Range": "Bytes of the file, as `bytes=0-1023`.",
    "If-Range": "An ETag or date: the whole file when it has changed since.",
    "Last-Event-ID": "The id of the last event that the client received; the stream starts with those it missed.",
}
SAFE = ("get", "head", "options")
ONCE = "IDEMPOTENCY_KEY_REUSED"  # a view that answers it takes an Idempotency-Key


def apply(route: Route, method: str, operation: Document, neighbours: set[str], responses: Document) -> None:
    """Complete an operation by its kind; `neighbours` are the methods of the same path.

    Responses with problems are added to `responses`, the components of the document.
    """
    needs_user = route.role or (operation.get("security") and not route.reads_token)  # the gateway leaves it to auth
    operation["security"] = SIGNED_IN if needs_user else [{}, *SIGNED_IN] if route.reads_token else []
    if route.role not in (None, USER):
        operation["x-role"] = route.role
    if route.limit:
        limit = CLASSES[route.limit]
        operation["x-rate-limit"] = {"name": limit.name, "requests": limit.quota, "seconds": limit.window}
    said = {status: answer for status, answer in operation.get("responses", {}).items() if "$ref" not in answer}
    if not any(status < "4" for status in said):
        said["default" if "default" in said else "200"] = {"description": "OK"}
    if route.form and method == "post":  # by `_method` the others are forms too, which is in docs/api.md
        _take_forms(route, operation, said)
    declared = {*operation.pop("x-problems", ())}
    asked = _share(route, method, said, neighbours, declared)
    operation["parameters"] += [{"$ref": f"#/components/parameters/{name}"} for name in asked]
    by_status: dict[int, list[str]] = {}
    for code in sorted(declared | _codes(route, method, said, operation)):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in by_status.items():
        name = "Or".join(code.title().replace("_", "") for code in codes)
        responses[name] = _problem_response(status, codes)
        said.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
    operation["responses"] = dict(sorted(said.items()))


def _share(route: Route, method: str, said: Document, neighbours: set[str], declared: set[str]) -> list[str]:
    """Describe the response headers, and return the request headers that belong to them."""
    single = {status for status in ("200", "201") if route.upstream and _is_single(said.get(status, {}))}
    parameters = ["X-Request-ID", *(["X-CSRF-Token"] if _needs_csrf_token(route, method) else [])]
    parameters += ["Range", "If-Range"] if "206" in said else []
    parameters += ["Last-Event-ID"] if "text/event-stream" in said.get("200", {}).get("content", {}) else []
    for status in said:
        _tell(said[status], "X-Request-ID", *(["RateLimit", "RateLimit-Policy"] if route.limit else []))
    if _is_list(said.get("200", {})):
        _tell(said["200"], "Link")
    if method == "get" and single and route.pattern.endswith(("}", "/me")):
        _tell(said["200"], "ETag")
        said["304"] = {"description": "Nothing has changed"}
        _tell(said["304"], "X-Request-ID", "ETag")
        parameters.append("If-None-Match")
    if _is_edit(route, method, single, neighbours):
        parameters.append("If-Match")
        for status in single:
            _tell(said[status], "ETag")
    if ONCE in declared:
        parameters.append("Idempotency-Key")
        _tell(said["201"], "Idempotency-Replayed", *(["Location", "ETag"] if single and route.role else []))
    return parameters


def _is_edit(route: Route, method: str, single: set[str], neighbours: set[str]) -> bool:
    if not route.pattern.endswith(("}", "/me")) or route.upstream is None:
        return False
    return (method in ("put", "patch") and bool(single)) or (method == "delete" and bool({"GET", "PATCH"} & neighbours))


def _schema(answer: Document) -> str:
    return str(answer.get("content", {}).get(JSON, {}).get("schema", {}).get("$ref", ""))


def _is_list(answer: Document) -> bool:
    return _schema(answer).endswith("ListEnvelope")


def _is_single(answer: Document) -> bool:
    return _schema(answer).endswith("Envelope") and not _schema(answer).endswith(("ListEnvelope", "BatchEnvelope"))


def _tell(answer: Document, *names: str) -> None:
    answer.setdefault("headers", {}).update({name: {"$ref": f"#/components/headers/{name}"} for name in names})


def _take_forms(route: Route, operation: Document, said: Document) -> None:
    body = operation["requestBody"]["content"]
    if route.form == FORM:
        body[FORM] = {"schema": body[JSON]["schema"]}
    said["303"] = {"description": "Done; to a plain form with `Accept: text/html`, the way to its `_next`"}
    _tell(said["303"], "Location")


def _needs_csrf_token(route: Route, method: str) -> bool:
    return method not in SAFE and bool(route.role or route.form)


def _codes(route: Route, method: str, said: Document, operation: Document) -> set[str]:
    """Return the error codes that all operations of this kind share."""
    names_one = "{" in route.pattern or route.pattern.endswith("/me")
    codes = {"BAD_REQUEST", "VALIDATION_ERROR", "URI_TOO_LONG", "HEADERS_TOO_LARGE", "INTERNAL_ERROR"}
    codes |= {"UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED"} if route.reads_token else set()
    codes |= {"FORBIDDEN"} if route.role not in (None, USER) else set()
    codes |= {"CSRF_FAILED"} if _needs_csrf_token(route, method) else set()
    codes |= {"NOT_FOUND"} if "{" in route.pattern else set()
    codes |= {"PRECONDITION_FAILED"} if names_one and route.upstream and method != "post" else set()
    codes |= {"INVALID_JSON"} if method not in SAFE else set()
    codes |= {"REQUEST_TIMEOUT", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"} if "requestBody" in operation else set()
    codes |= {"RANGE_NOT_SATISFIABLE"} if "206" in said else set()
    codes |= {"RATE_LIMITED"} if route.limit else set()
    codes |= {"BAD_GATEWAY", "SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT"} if route.upstream else set()
    codes |= {"STORAGE_FULL"} if route.upstream and method not in SAFE else set()
    return codes


def components(responses: Document) -> Document:
    """Return the shared components to which operations refer."""
    parameters = {
        name: {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in PARAMETERS.items()
    }
    return {
        "responses": dict(sorted(responses.items())),
        "headers": HEADERS,
        "parameters": parameters,
        "securitySchemes": SECURITY_SCHEMES,
    }


def _problem_response(status: int, codes: list[str]) -> Document:
    """Return the response of a status with problems of these codes."""
    told = " ".join(f"`{code}`: {CODES[code].title}. {CODES[code].advice}" for code in codes)
    schema = {
        "allOf": [{"$ref": SCHEMAS + "Problem"}],
        "properties": {"status": {"const": status}, "code": {"enum": codes}},
    }
    content = {CONTENT_TYPE: {"schema": schema, "example": _problem_example(codes[0])}}
    answer: Document = {"description": f"{reason(status)}. {told}", "content": content}
    headers = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    _tell(answer, "X-Request-ID", *headers.get(status, []))
    return answer


def _problem_example(code: str) -> Document:
    kind = CODES[code]
    return {
        "success": False,
        "type": f"https://api.example.com/api/errors/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.advice,
        "instance": "/api/posts",
        "code": code,
        "requestId": "6f1c2a9b0d3e4f5a6b7c8d9e",
    }


def problem_schema() -> Document:
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
