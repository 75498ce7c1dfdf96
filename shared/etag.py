"""Answer single resources with a strong ETag, and refuse lost updates.

The tag is `"<version>.<digest>"`: If-None-Match compares the whole (RFC 9110, 13.1.2), If-Match only the
version, which edits raise and counters do not (13.1.1).
"""

import hashlib
from typing import Any

from flask import Response, request

from shared.api import respond
from shared.problems import Problem


def tagged(version: int, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer one resource with its ETag, or 304 when the client has it already."""
    response = respond(data, status, headers)
    digest = hashlib.blake2b(response.get_data(), digest_size=8).hexdigest()
    response.set_etag(f"{version}.{digest}")
    if status == 200:
        response.make_conditional(request)
    return response


def require_match(version: int, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise PRECONDITION_FAILED when If-Match is there and names another version.

    The answer has the current version's tag and names the fields of `wanted` that differ from `current`.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return
    tags = [tag.strip() for tag in header.split(",")]
    if any(tag.startswith('"') and tag[1:].partition(".")[0] == str(version) for tag in tags):
        return
    errors = {name: ["Differs from the current value."] for name in wanted if current.get(name) != wanted[name]}
    raise Problem("PRECONDITION_FAILED", errors=errors, headers={"ETag": f'"{version}"'})
