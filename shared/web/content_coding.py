"""Refuse compressed request bodies: no service decompresses one, so there are no decompression bombs."""

from collections.abc import Mapping
from typing import Any

from shared.problems import Problem


def refusal(environ: Mapping[str, Any]) -> Problem | None:
    """Return UNSUPPORTED_MEDIA_TYPE for a body with a Content-Encoding (RFC 9110, section 15.5.16)."""
    if "HTTP_CONTENT_ENCODING" not in environ:
        return None
    coding = environ["HTTP_CONTENT_ENCODING"].strip().lower()
    has_body = environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ
    if not has_body or coding in ("", "identity"):
        return None
    detail = "The body has a Content-Encoding. Send it as it is."
    return Problem("UNSUPPORTED_MEDIA_TYPE", detail, headers={"Accept-Encoding": "identity"})
