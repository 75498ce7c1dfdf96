"""What the contract promises of every operation of a kind, in the words of OpenAPI.

A service describes what is its own; rights, limits, errors and the headers that all share are told here once.
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
HTML = "text/html"
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
ABOUT = """All that the gateway serves.

Every success is `{"success": true, "data": …}`, a list with `pagination` beside it, and every error a problem of
RFC 9457 with a `code` to switch on, explained at `/api/errors/{code}`. Lists take `page` and `limit`, or `cursor`, and
have a `Link` header. A single resource has an `ETag`: send it as `If-None-Match` to read only what has changed, and as
`If-Match` with PUT, PATCH and DELETE so that nobody's edit is lost. `Idempotency-Key` makes a POST safe to repeat.
`X-Request-ID`, taken from the request when it is well formed, is in every answer and log line. HEAD works wherever GET
does. `RateLimit` tells what is left of a limit."""


def _header(text: str, example: str, *, always: bool = True) -> Document:
    return {"description": text, "required": always, "schema": {"type": "string"}, "example": example}


HEADERS = {
    "X-Request-ID": _header("The id of the request in all logs.", "6f1c2a9b0d3e4f5a6b7c8d9e"),
    "RateLimit-Policy": _header("The limit that counts here.", '"general";q=100;w=60', always=False),
    "RateLimit": _header(
        "How many requests are left, and in how many seconds more.", '"general";r=57;t=21', always=False
    ),
    "ETag": _header("The version of the resource, and a digest of this answer.", '"3.5d41402abc4b2a76"'),
    "Link": _header("The first, previous, next and last page (RFC 8288).", '</api/posts?page=2>; rel="next"'),
    "Location": _header("Where the new resource is.", "/api/posts/0198c1f2-6d3e-7a4b-8c5d-9e0f1a2b3c4d"),
    "Idempotency-Replayed": _header("The answer to an earlier request with the same key.", "true", always=False),
    "Retry-After": _header("Seconds after which to try again.", "21", always=False),
    "WWW-Authenticate": _header("How to sign in.", "Bearer"),
}
PARAMETERS = {
    "If-None-Match": "An ETag: 304 without a body when nothing has changed.",
    "If-Match": "An ETag: 412 when somebody else has edited the resource since.",
    "Idempotency-Key": "1 to 255 characters of your own: the same key and body get the first answer again, for 24 h.",
}


def apply(route: Route, method: str, operation: Document, neighbours: set[str]) -> None:
    """Add to an operation what its kind has; `neighbours` are the methods of the same path."""
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
    is_form = bool(route.form) and method == "post"  # by `_method` the others are forms too, which is in docs/api.md
    if is_form:
        _take_forms(route, operation, said)
    _share(route, method, operation, said, neighbours)
    kind = "Page" if is_form else ""
    errors = {
        str(status): {"$ref": f"#/components/responses/{status}{kind}"}
        for status in _errors(route, method, said, operation)
    }
    operation["responses"] = dict(sorted((errors | said).items()))


def _share(route: Route, method: str, operation: Document, said: Document, neighbours: set[str]) -> None:
    """Tell the headers of the answers, and those that ask for them."""
    single = {status for status in ("200", "201") if route.upstream and _is_single(said.get(status, {}))}
    parameters: list[str] = []
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
    if method == "post" and "201" in said and (route.role or route.pattern == "/api/contact"):
        parameters.append("Idempotency-Key")
        _tell(said["201"], "Idempotency-Replayed", *(["Location", "ETag"] if single and route.role else []))
    operation["parameters"] += [{"$ref": f"#/components/parameters/{name}"} for name in parameters]


def _is_edit(route: Route, method: str, single: set[str], neighbours: set[str]) -> bool:
    if not route.pattern.endswith(("}", "/me")) or route.upstream is None:
        return False
    return (method in ("put", "patch") and bool(single)) or (method == "delete" and bool({"GET", "PATCH"} & neighbours))


def _schema(answer: Document) -> str:
    return str(answer.get("content", {}).get(JSON, {}).get("schema", {}).get("$ref", ""))


def _is_list(answer: Document) -> bool:
    return _schema(answer).endswith("ListEnvelope")


def _is_single(answer: Document) -> bool:
    return _schema(answer).endswith("Envelope") and not _is_list(answer)


def _tell(answer: Document, *names: str) -> None:
    answer.setdefault("headers", {}).update({name: {"$ref": f"#/components/headers/{name}"} for name in names})


def _take_forms(route: Route, operation: Document, said: Document) -> None:
    body = operation["requestBody"]["content"]
    if route.form == FORM:
        body[FORM] = {"schema": body[JSON]["schema"]}
    said["303"] = {"description": "Done; to a plain form with `Accept: text/html`, the way to its `_next`"}
    _tell(said["303"], "Location")


def _errors(route: Route, method: str, said: Document, operation: Document) -> list[int]:
    """Return the statuses of errors that any operation of such a kind can end with."""
    signs_in = route.pattern.startswith("/api/auth/")
    names_one = "{" in route.pattern
    statuses = [400, 414, 431, 500]
    statuses += [401] if route.reads_token or signs_in else []
    statuses += [403] if route.role or signs_in or "206" in said else []
    statuses += [404] if names_one else []
    statuses += [412] if names_one and method in ("put", "patch", "delete") else []
    statuses += [409] if method in ("put", "patch", "delete") and route.role else []
    statuses += [409, 422] if method == "post" and (route.role or signs_in or "201" in said) else []
    statuses += [408, 413, 415] if "requestBody" in operation else []
    statuses += [416] if "206" in said else []
    statuses += [429] if route.limit else []
    statuses += [502, 503, 504] if route.upstream or "{domain}" in route.pattern else []
    asked = {parameter.get("name") for parameter in operation["parameters"]}
    statuses += [412] if "Tus-Resumable" in asked else []
    statuses += [460] if "Upload-Checksum" in asked else []
    statuses += [507] if route.upstream and method != "get" else []
    return sorted(set(statuses))


def components() -> Document:
    """Return what operations refer to, but for the services' own schemas."""
    answers = _problems()
    pages = {f"{status}Page": _with_page(answer) for status, answer in answers.items()}
    parameters = {
        name: {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in PARAMETERS.items()
    }
    return {
        "responses": answers | pages,
        "headers": HEADERS,
        "parameters": parameters,
        "securitySchemes": SECURITY_SCHEMES,
    }


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
        content = {CONTENT_TYPE: {"schema": schema, "example": _problem_example(next(iter(codes)))}}
        answer: Document = {"description": f"{reason(status)}. {told}", "content": content}
        _tell(
            answer,
            "X-Request-ID",
            *{401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, []),
        )
        responses[str(status)] = answer
    return responses


def _with_page(answer: Document) -> Document:
    page: Document = {HTML: {"schema": {"type": "string"}}}
    return answer | {"content": answer["content"] | page}


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
