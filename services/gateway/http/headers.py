"""Headers on their way to an upstream and back, as pure functions on lists of (name, value).

Names of request headers are in lower case, as HTTP does not tell the difference (RFC 9110, section 5.1).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from shared.short_key_cache import short_key_cache

Headers = list[tuple[str, str]]

HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
))  # fmt: skip
# What an answer that everybody shares may depend on: a shared fetch sends these of a client's headers and no other,
# and the cache keeps nothing that names another one in Vary.
SELECTING = frozenset(("accept", "accept-charset", "accept-encoding", "accept-language"))
# What a service gets as a client sent it. A list of what it may not get would never be complete: there is always one
# more name for who or where somebody is. A service that reads another header adds it here.
FORWARDED = SELECTING | frozenset((
    "authorization", "baggage", "content-digest", "content-range", "content-type", "cookie", "idempotency-key",
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-event-id", "origin",
    "purpose", "range", "referer", "repr-digest", "sec-fetch-site", "sec-purpose", "sentry-trace", "traceparent",
    "tracestate", "tus-resumable", "upload-checksum", "upload-concat", "upload-defer-length", "upload-length",
    "upload-metadata", "upload-offset", "user-agent", "x-csrf-token", "x-moz", "x-purpose", "x-requested-with",
))  # fmt: skip
# A browser sends the cookies of all applications on the host, which are nothing to our services.
OUR_COOKIES = frozenset(("authToken", "refreshToken", "csrfToken", "device"))
# Said once, by the gateway.
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
    """Return the request's headers but for Content-Length, which goes with the framing."""
    headers = [(wire_name(key), value) for key, value in environ.items() if key[:5] == "HTTP_"]
    if kind := environ.get("CONTENT_TYPE"):
        headers.append(("content-type", kind))
    return headers


def to_upstream(headers: Headers, *, client: str, scheme: str, host: str, request_id: str) -> Headers:
    """Return what an upstream gets: the headers that services read, and our word on who asked."""
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
    """Return what comes back: end-to-end headers, without CORS, limits and whatever else is the gateway's to say."""
    named = _named_by_connection(headers)
    if not named:
        return [header for header in headers if _comes_back(header[0])]
    return [header for header in headers if _comes_back(header[0]) and header[0].lower() not in named]


@lru_cache(maxsize=256)
def _comes_back(name: str) -> bool:
    name = name.lower()
    return name not in HOP_BY_HOP | OURS and not name.startswith(OUR_PREFIXES)


def _named_by_connection(headers: Headers) -> set[str]:
    values = [value for name, value in headers if len(name) == 10 and name.lower() == "connection"]
    return {token.strip().lower() for value in values for token in value.split(",")} - {"", "keep-alive", "close"}


def with_policies(headers: Headers, ours: Iterable[tuple[str, str]], *, private: bool) -> Headers:
    """Return an answer's headers with those that every answer has.

    `ours` are added as they are. An answer to credentials is nobody else's: `private` puts no-store in place of
    whatever the upstream allows, and keeps its no-transform. HTML without a policy of its own may load and run nothing.
    """
    kinds: dict[str, str] = {}
    answer: Headers = []
    said = ""
    no_transform = False
    for header in headers:
        name = header[0].lower()
        kinds[name] = header[1]
        if name == "vary":
            said = f"{said},{header[1]}"
        elif private and name == "cache-control":
            no_transform = no_transform or "no-transform" in header[1].lower()
        else:
            answer.append(header)
    answer += [*ours, ("Vary", _vary(said))]
    if private:
        answer.append(("Cache-Control", "private, no-store" + ", no-transform" * no_transform))
    if "x-content-type-options" not in kinds:
        answer.append(("X-Content-Type-Options", "nosniff"))
    if "referrer-policy" not in kinds:
        answer.append(("Referrer-Policy", "no-referrer"))
    if kinds.get("content-type", "")[:9].lower() == "text/html" and "content-security-policy" not in kinds:
        answer.append(("Content-Security-Policy", HTML_POLICY))
    return answer


@lru_cache(maxsize=256)
def _vary(said: str) -> str:
    """Return what answers depend on, with the origin once and last."""
    fields = map(str.strip, said.split(","))
    return ", ".join([*(field for field in fields if field.lower() not in ("", "origin")), "Origin"])


HTML_POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
