"""Answer single resources with a strong ETag, and refuse lost updates.

The tag is `"<version>.<digest>"`: If-None-Match compares the whole (RFC 9110, 13.1.2), If-Match only the
version, which edits raise and counters do not (13.1.1).
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from flask import Response, request

from shared.api import camel, respond
from shared.problems import Problem

_strong_tag = re.compile(r'"([0-9]{1,19})(?:\.[0-9a-f]*)?"').fullmatch


def tagged(version: int, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer one resource with its ETag, or 304 when the client has it already."""
    response = respond(data, status, headers)
    tag = _tag(version, response)
    response.set_etag(tag)
    if status == 200 and request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
    return response


def require_match(
    version: int,
    current: dict[str, Any],
    wanted: dict[str, Any],
    representation: Callable[[], Any] | None = None,
) -> None:
    """Raise PRECONDITION_FAILED when If-Match is there and names another version.

    The answer names the fields of `wanted` that differ from `current`. Its ETag is the one that a GET has now
    when `representation` returns what a GET would answer, else that of the version alone; both match.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return
    tags = [_strong_tag(tag.strip()) for tag in header.split(",")]
    if any(tag and int(tag[1]) == version for tag in tags):
        return
    differing = [camel(name) for name in wanted if current.get(name) != wanted[name]]
    errors = {name: ["Differs from the current value."] for name in differing}
    now = _tag(version, respond(representation())) if representation else str(version)
    raise Problem("PRECONDITION_FAILED", errors=errors, headers={"ETag": f'"{now}"'})


def _tag(version: int, response: Response) -> str:
    return f"{version}.{hashlib.blake2b(response.get_data(), digest_size=8).hexdigest()}"
