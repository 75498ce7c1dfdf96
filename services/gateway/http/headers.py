"""Request and response headers between client and upstream: pure functions on lists of (name, value).

Names of request headers are in lower case (RFC 9110, section 5.1).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from shared.short_key_cache import short_key_cache

Headers = list[tuple[str, str]]

# RFC 9110, section 7.6.1
HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
))  # fmt: skip
# The request headers that a cached response may depend on: a cache fill sends no other of the client's headers, and
# the cache stores no response that names another one in Vary.
SELECTING = frozenset(("accept", "accept-charset", "accept-encoding", "accept-language"))
# The allow-list of client headers that services get. A deny-list would never be complete: there is always one more
# header by which a client could fake an identity or address. A service that reads another header adds it here.
FORWARDED = SELECTING | frozenset((
    "authorization", "baggage", "content-digest", "content-range", "content-type", "cookie", "idempotency-key",
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-event-id", "origin",
    "purpose", "range", "referer", "repr-digest", "sec-fetch-site", "sec-purpose", "sentry-trace", "traceparent",
    "tracestate", "tus-resumable", "upload-checksum", "upload-concat", "upload-defer-length", "upload-length",
    "upload-metadata", "upload-offset", "user-agent", "x-csrf-token", "x-moz", "x-purpose", "x-requested-with",
))  # fmt: skip
# A browser sends the cookies of all applications on the host; services get only ours.
OUR_COOKIES = frozenset(("authToken", "refreshToken", "csrfToken", "device"))
# Set by the gateway alone.
OURS = frozenset((
    "server", "date", "via", "x-powered-by", "x-request-id", "x-content-type-options", "strict-transport-security",
    "ratelimit", "ratelimit-policy",
))  # fmt: skip
OUR_PREFIXES = ("access-control-", "x-ratelimit-")


@short_key_cache(256)
def wire_name(key: str) -> str:
    """Turn a WSGI key (`HTTP_IF_MATCH`) into the header's name."""
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def from_environ(environ: Mapping[str, Any]) -> Headers:
    """Return the request's headers without Content-Length, which belongs to the framing."""
    headers = [(wire_name(key), value) for key, value in environ.items() if key[:5] == "HTTP_"]
    if kind := environ.get("CONTENT_TYPE"):
        headers.append(("content-type", kind))
    return headers


def to_upstream(headers: Headers, *, client: str, scheme: str, host: str, request_id: str) -> Headers:
    """Return the headers for an upstream: the allowed ones of the client, X-Forwarded-* and X-Request-ID."""
    named = _named_by_connection(headers)
    passed = [(name, value) for name, value in headers if name in FORWARDED and name not in named]
    passed = [(name, our_cookies(value) if name == "cookie" else value) for name, value in passed]
    passed += [("x-forwarded-for", client), ("x-forwarded-proto", scheme), ("x-request-id", request_id)]
    if host:
        passed.append(("x-forwarded-host", host))
    return passed


def our_cookies(cookies: str) -> str:
    """Return the cookies that services read."""
    return "; ".join(pair for pair in map(str.strip, cookies.split(";")) if pair.partition("=")[0] in OUR_COOKIES)


def from_upstream(headers: Headers) -> Headers:
    """Return the end-to-end headers of an upstream's response, without those that the gateway sets."""
    named = _named_by_connection(headers)
    if not named:
        return [header for header in headers if _is_returned(header[0])]
    return [header for header in headers if _is_returned(header[0]) and header[0].lower() not in named]


@lru_cache(maxsize=256)
def _is_returned(name: str) -> bool:
    name = name.lower()
    return name not in HOP_BY_HOP | OURS and not name.startswith(OUR_PREFIXES)


def _named_by_connection(headers: Headers) -> set[str]:
    values = [value for name, value in headers if len(name) == 10 and name.lower() == "connection"]
    return {token.strip().lower() for value in values for token in value.split(",")} - {"", "keep-alive", "close"}


def with_policies(headers: Headers, ours: Iterable[tuple[str, str]], *, private: bool) -> Headers:
    """Return the headers of a response with `ours` and the defaults of all responses.

    `private` (the request has credentials) replaces Cache-Control with no-store, and keeps a no-transform. HTML without
    a Content-Security-Policy gets one that lets it load and run nothing.
    """
    kinds: dict[str, str] = {}
    sent: Headers = []
    vary = ""
    no_transform = False
    for header in headers:
        name = header[0].lower()
        kinds[name] = header[1]
        if name == "vary":
            vary = f"{vary},{header[1]}"
        elif private and name == "cache-control":
            no_transform = no_transform or "no-transform" in header[1].lower()
        else:
            sent.append(header)
    sent += [*ours, ("Vary", _vary(vary))]
    if private:
        sent.append(("Cache-Control", "private, no-store" + ", no-transform" * no_transform))
    if "x-content-type-options" not in kinds:
        sent.append(("X-Content-Type-Options", "nosniff"))
    if "referrer-policy" not in kinds:
        sent.append(("Referrer-Policy", "no-referrer"))
    if kinds.get("content-type", "")[:9].lower() == "text/html" and "content-security-policy" not in kinds:
        sent.append(("Content-Security-Policy", HTML_POLICY))
    return sent


@lru_cache(maxsize=256)
def _vary(vary: str) -> str:
    """Return the value of Vary with Origin once and last."""
    fields = map(str.strip, vary.split(","))
    return ", ".join([*(field for field in fields if field.lower() not in ("", "origin")), "Origin"])


HTML_POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
