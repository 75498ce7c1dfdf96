"""Strong ETags for single resources, and preconditions against lost updates.

The tag is `"<version>.<digest>"`: If-None-Match compares the whole (RFC 9110, 13.1.2), If-Match only the
version, which edits raise and counters do not (13.1.1). The order of the conditions is that of section 13.2.2.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Response, request

from shared.problems import Problem
from shared.web.responses import respond
from shared.web.schema import camel

_strong_tag = re.compile(r'"([0-9]{1,19})(?:\.[0-9a-f]*)?"').fullmatch


def tagged(version: int, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return one resource with its ETag, or 304 for a matching condition; a read raises PRECONDITION_FAILED."""
    response = respond(data, status, headers)
    tag = _tag(version, response)
    response.set_etag(tag)
    if status == 200 and request.method in ("GET", "HEAD") and is_known(version, f'"{tag}"'):
        response.status_code = 304
        response.set_data(b"")
    return response


def is_known(version: int, etag: str, modified_at: datetime | None = None) -> bool:
    """Return whether the response to a read is 304; raise PRECONDITION_FAILED (RFC 9110, section 13.2.2).

    The conditions with dates count where the resource has a `Last-Modified`: the time in `modified_at`.
    """
    if not _is_expected(version, modified_at):
        raise Problem("PRECONDITION_FAILED", headers={"ETag": etag})
    if "If-None-Match" in request.headers:
        return _names(etag)
    since = request.if_modified_since
    return modified_at is not None and since is not None and _seconds(modified_at) <= since


def require_match(
    version: int,
    current: dict[str, Any],
    wanted: dict[str, Any],
    representation: Callable[[], Any] | None = None,
    *,
    etag: str = "",
    modified_at: datetime | None = None,
) -> None:
    """Raise PRECONDITION_FAILED if a write expects another state (RFC 9110, section 13.2.2).

    `If-Match` compares the version, `If-Unmodified-Since` the time in `modified_at`, `If-None-Match` the whole tag: it
    is in `etag`, or is that of what a GET would answer, which `representation` returns. The problem names the fields of
    `wanted` that differ from `current`. Its ETag is this tag, or without one that of the version alone; both match.
    """
    expected = _is_expected(version, modified_at)
    if expected and "If-None-Match" not in request.headers:
        return
    if not etag:
        etag = f'"{_tag(version, respond(representation())) if representation else version}"'
    if expected and not _names(etag):
        return
    differing = [camel(name) for name in wanted if current.get(name) != wanted[name]]
    errors = {name: ["Differs from the current value."] for name in differing}
    raise Problem("PRECONDITION_FAILED", errors=errors, headers={"ETag": etag})


def _is_expected(version: int, modified_at: datetime | None) -> bool:
    header = request.headers.get("If-Match")
    if header is None:
        since = request.if_unmodified_since
        return modified_at is None or since is None or _seconds(modified_at) <= since
    if header.strip() == "*":
        return True
    tags = [_strong_tag(tag.strip()) for tag in header.split(",")]
    return any(tag and int(tag[1]) == version for tag in tags)


def _names(etag: str) -> bool:
    return request.if_none_match.contains_weak(etag.strip('"'))


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _tag(version: int, response: Response) -> str:
    return f"{version}.{hashlib.blake2b(response.get_data(), digest_size=8).hexdigest()}"
