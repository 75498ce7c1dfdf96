"""CORS response headers (Fetch standard, CORS protocol)."""

import re
from collections.abc import Iterable

from flask_cors.core import get_cors_headers, serialize_options
from werkzeug.datastructures import Headers as WerkzeugHeaders

from services.gateway.http.headers import Headers

MAX_AGE = "86400"
TUS = (
    "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Tus-Resumable",
)  # fmt: skip
ALLOWED_HEADERS = (
    "Content-Type", "Authorization", "X-Requested-With", "If-Match", "If-None-Match", "Idempotency-Key",
    "X-CSRF-Token", "X-Request-ID", "Last-Event-ID", "Range", "If-Range", "If-Modified-Since", "If-Unmodified-Since",
    "Content-Digest", "Repr-Digest", "traceparent", "tracestate", "baggage", "sentry-trace", "Upload-Checksum", *TUS,
)  # fmt: skip
EXPOSED_HEADERS = (
    "ETag", "Last-Modified", "Link", "Location", "Content-Location", "Content-Disposition", "Content-Range",
    "Accept-Ranges", "Allow", "WWW-Authenticate", "Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit",
    "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID", "X-Cache", "Age", "Idempotency-Replayed",
    "X-Contact-Processed", "Repr-Digest", "Server-Timing", "Tus-Version", "Tus-Extension", "Tus-Max-Size",
    "Tus-Checksum-Algorithm", "Upload-Expires", *TUS,
)  # fmt: skip


class Cors:
    """The CORS headers of each configured origin, built once by flask-cors; origins match exactly."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._headers = {origin: _build_headers(origin) for origin in origins}

    def headers(self, origin: str) -> Headers:
        """Return the CORS headers of a response, none for an unknown origin; all responses have `Vary: Origin`."""
        return self._headers.get(origin, [])

    def preflight_headers(self, origin: str, methods: Iterable[str]) -> Headers:
        """Return the further headers of a preflight response; `methods` are those of the path."""
        if origin not in self._headers:
            return []
        return [
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)),
            ("Access-Control-Max-Age", MAX_AGE),
        ]


def _build_headers(origin: str) -> Headers:
    options = serialize_options(
        {
            "origins": [re.compile(re.escape(origin))],
            "supports_credentials": True,
            "expose_headers": EXPOSED_HEADERS,
            "vary_header": False,
        }
    )
    built = get_cors_headers(options, WerkzeugHeaders({"Origin": origin}), "GET")
    return [(name, str(value)) for name, value in built.items()]
