"""The one error shape: RFC 9457 problem details with a stable code, whatever layer refuses.

Nothing here knows of Flask, so that the gateway's layers and the HTTP server use it too.
"""

import math
from collections.abc import Mapping
from heapq import nsmallest
from typing import Any, NamedTuple

import orjson

CONTENT_TYPE = "application/problem+json"
MAX_MISTAKES = 100  # fields of `errors`, and messages of each


class ErrorKind(NamedTuple):
    """The status, title and advice of an error code."""

    status: int
    title: str
    advice: str


CODES: dict[str, ErrorKind] = {
    "VALIDATION_ERROR": ErrorKind(400, "Some fields are not valid", "Correct the fields named in errors."),
    "INVALID_JSON": ErrorKind(400, "The body is not valid JSON", "Send one JSON document in UTF-8 (RFC 8259)."),
    "INVALID_SIGNATURE": ErrorKind(400, "The signature does not match", "Sign the raw body with the shared secret."),
    "INVALID_IMAGE": ErrorKind(400, "The image cannot be read", "Send a complete JPEG, PNG, WebP or GIF."),
    "BAD_REQUEST": ErrorKind(400, "The request is not valid HTTP or not valid here", "Correct what detail names."),
    "UNAUTHORIZED": ErrorKind(401, "You are not signed in", "Send a valid access token."),
    "TOKEN_EXPIRED": ErrorKind(401, "The access token has expired", "Refresh it and try again."),
    "TOKEN_REVOKED": ErrorKind(401, "The session has ended", "Sign in again."),
    "INVALID_CREDENTIALS": ErrorKind(401, "Wrong email or password", "Check both, or reset the password."),
    "FORBIDDEN": ErrorKind(403, "You may not do this", "Sign in as somebody who has the right."),
    "EMAIL_NOT_VERIFIED": ErrorKind(403, "The email address is not verified", "Follow the link in the mail."),
    "ACCOUNT_SUSPENDED": ErrorKind(403, "The account is suspended", "Ask an administrator."),
    "DOMAIN_NOT_ALLOWED": ErrorKind(403, "This outside host is not allowed", "Use one of allowedDomains."),
    "CSRF_FAILED": ErrorKind(403, "The CSRF check failed", "Send X-CSRF-Token equal to the cookie csrfToken."),
    "LINK_EXPIRED": ErrorKind(403, "The link has expired or was altered", "Ask for a new link."),
    "NOT_FOUND": ErrorKind(404, "There is nothing here", "Check the address."),
    "METHOD_NOT_ALLOWED": ErrorKind(405, "The method is not allowed here", "Use one of allowedMethods."),
    "NOT_ACCEPTABLE": ErrorKind(406, "No acceptable representation", "Accept application/json."),
    "REQUEST_TIMEOUT": ErrorKind(408, "The request took too long to arrive", "Send it again, faster."),
    "CONFLICT": ErrorKind(409, "The request conflicts with the current state", "Read the state again, then retry."),
    "EMAIL_TAKEN": ErrorKind(409, "The email address is taken", "Sign in, or use another address."),
    "PRECONDITION_FAILED": ErrorKind(412, "Somebody was faster", "Read the resource again and merge."),
    "PAYLOAD_TOO_LARGE": ErrorKind(413, "The body is too large", "Send at most maxSize bytes."),
    "QUOTA_EXCEEDED": ErrorKind(413, "Your storage quota is used up", "Delete some files first."),
    "URI_TOO_LONG": ErrorKind(414, "The request target is too long", "Shorten the address or the query."),
    "UNSUPPORTED_MEDIA_TYPE": ErrorKind(415, "The media type is not supported", "Use one of allowedTypes."),
    "RANGE_NOT_SATISFIABLE": ErrorKind(416, "The range is outside the file", "Ask for bytes that exist."),
    "EXPECTATION_FAILED": ErrorKind(417, "The expectation cannot be met", "Expect nothing but 100-continue."),
    "IDEMPOTENCY_KEY_REUSED": ErrorKind(422, "The Idempotency-Key was used for another request", "Use a new key."),
    "PRECONDITION_REQUIRED": ErrorKind(428, "A precondition is required", "Send If-Match with the ETag you read."),
    "RATE_LIMITED": ErrorKind(429, "Too many requests", "Wait for retryAfter seconds."),
    "HEADERS_TOO_LARGE": ErrorKind(431, "The request headers are too large", "Send fewer or shorter headers."),
    "CHECKSUM_MISMATCH": ErrorKind(460, "The checksum does not match", "Send the bytes again."),
    "INTERNAL_ERROR": ErrorKind(500, "Something went wrong on our side", "Try again; report the requestId."),
    "NOT_IMPLEMENTED": ErrorKind(501, "The server does not implement this", "Use another method or coding."),
    "BAD_GATEWAY": ErrorKind(502, "The service behind sent no valid answer", "Try again."),
    "SERVICE_UNAVAILABLE": ErrorKind(503, "The service is not available", "Try again after retryAfter seconds."),
    "GATEWAY_TIMEOUT": ErrorKind(504, "The service behind took too long", "Try again."),
    "HTTP_VERSION_NOT_SUPPORTED": ErrorKind(505, "The HTTP version is not supported", "Use HTTP/1.1."),
    "STORAGE_FULL": ErrorKind(507, "The storage is full", "Try again later."),
}

_BY_STATUS = {kind.status: code for code, kind in reversed(CODES.items())} | {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
}


def code_for(status: int) -> str:
    """Return the general code of a status; an unknown 4xx is BAD_REQUEST, any other INTERNAL_ERROR."""
    return _BY_STATUS.get(status, "BAD_REQUEST" if 400 <= status < 500 else "INTERNAL_ERROR")


class Problem(Exception):
    """A refusal of a request, with a code of `CODES` (RFC 9457).

    `detail` is a sentence for a person; `errors` maps field paths to messages; `headers` are those of the response;
    further keywords (`retryAfter`, `maxSize`, …) become members of the body.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.errors = _first(errors) if errors else None
        self.members = {"retryAfter": 1} | members if self.status in (429, 503) else members
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return CODES[self.code].status

    @property
    def title(self) -> str:
        return CODES[self.code].title

    @property
    def sentence(self) -> str:
        """Return the detail, or the advice of the code."""
        return self.detail or CODES[self.code].advice

    def body(self, instance: str, request_id: str, public_url: str) -> bytes:
        """Return the problem details as JSON; `instance` is the path of the request.

        `public_url` is the gateway's public address, which the type of every problem starts with.
        """
        problem: dict[str, Any] = {
            "success": False,
            "type": f"{public_url.rstrip('/')}/api/errors/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.sentence,
            "instance": instance,
            "code": self.code,
            "requestId": request_id,
        }
        if self.errors:
            problem["errors"] = self.errors
        problem |= self.members
        return orjson.dumps(problem)

    def answer(self, instance: str, request_id: str, public_url: str) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status line, headers and body, ready for any HTTP layer."""
        return self._answer(self.body(instance, request_id, public_url), {"Content-Type": CONTENT_TYPE})

    def answer_page(self, page: bytes, policy: str) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return the same with an HTML page and its Content-Security-Policy in place of the problem details."""
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
        return self._answer(page, headers)

    def _answer(self, body: bytes, kind: Mapping[str, str]) -> tuple[str, list[tuple[str, str]], bytes]:
        headers = {
            **kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="postern"'
        if retry_after := self.members.get("retryAfter"):
            headers["Retry-After"] = str(math.ceil(retry_after))
        if methods := self.members.get("allowedMethods"):
            headers["Allow"] = ", ".join(methods)
        return f"{self.status} {reason(self.status)}", list((headers | self.headers).items()), body


def _first(errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the first of the mistakes by field: a body of 1 MiB has room for 100 000."""
    return {field: errors[field][:MAX_MISTAKES] for field in nsmallest(MAX_MISTAKES, errors)}


def reason(status: int) -> str:
    """Return the reason phrase of a status."""
    return _REASONS.get(status) or CODES[code_for(status)].title


_REASONS = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 412: "Precondition Failed",
    413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable",
    417: "Expectation Failed", 422: "Unprocessable Content", 428: "Precondition Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 460: "Checksum Mismatch",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 507: "Insufficient Storage",
}  # fmt: skip
