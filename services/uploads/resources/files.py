"""Files: give out the bytes, so that nothing in them can act in a browser."""

from typing import Any

from flask import Response, request
from werkzeug.http import http_date

from services.uploads import access
from services.uploads.disposition import disposition
from services.uploads.inspection import PDF
from services.uploads.models import Upload
from services.uploads.ranges import Part, Unsatisfiable, single_part
from services.uploads.schemas import FileQuerySchema
from services.uploads.signing import Link
from shared.api import Blueprint
from shared.credentials import has_credentials
from shared.ids import is_id
from shared.problems import Problem

blp = Blueprint("files", __name__, url_prefix="/api/files", description="The files themselves")

POLICY = "default-src 'none'; sandbox"
PUBLIC = "public, max-age=300"
PRIVATE = "private, no-store"
BYTES = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
ANSWERS = {
    200: {"description": "The file"} | BYTES,
    206: {"description": "The part of the file that Range names"} | BYTES,
    304: {"description": "The client has it already"},
}


@blp.route("/by-id/<upload_id>", methods=["GET"])
@blp.doc(responses=ANSWERS)
@blp.arguments(FileQuerySchema, location="query")
def read_by_id(args: dict[str, Any], upload_id: str) -> Response:
    """Read a file at the address that stays."""
    return _answer(access.visible(access.by_id(upload_id), Link.of(args)), "download" in args)


@blp.route("/<user_id>/<path:path>", methods=["GET"])
@blp.doc(responses=ANSWERS)
@blp.arguments(FileQuerySchema, location="query")
def read(args: dict[str, Any], user_id: str, path: str) -> Response:
    """Read a file by its owner and path."""
    if not is_id(user_id) or "\0" in path:
        raise Problem("NOT_FOUND")
    return _answer(access.visible(Upload.named(user_id, path), Link.of(args)), "download" in args)


def _answer(upload: Upload, wants_attachment: bool) -> Response:
    headers = _headers(upload, wants_attachment)
    if _is_known(upload, headers["ETag"]):
        response = Response(status=304, headers=headers)
        del response.headers["Content-Type"]
        return response
    part = _wanted_part(upload, headers)
    start, stop = part or (0, upload.size)
    headers["Content-Length"] = str(stop - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{upload.size}"
    try:
        blocks = access.current_storage().open(upload.key, start, stop)
    except FileNotFoundError as error:  # deleted since the row was read
        raise Problem("NOT_FOUND") from error
    return Response(blocks, 206 if part else 200, headers, content_type=upload.mime_type)


def _headers(upload: Upload, wants_attachment: bool) -> dict[str, str]:
    """Return the headers of any answer about the file; one to credentials is stored by nobody."""
    environ = request.environ
    shown_to_one = has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))
    attached = wants_attachment or upload.kind is PDF
    return {
        "ETag": f'"{upload.sha256[:32]}"',
        "Last-Modified": http_date(upload.modified_at),
        "Cache-Control": PRIVATE if upload.private or shown_to_one else PUBLIC,
        "Content-Disposition": disposition(upload.filename, upload.kind, attached),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
    }


def _is_known(upload: Upload, etag: str) -> bool:
    """Tell whether the client has the file as it is (RFC 9110, 13.1.2 and 13.1.3)."""
    if "If-None-Match" in request.headers:
        return request.if_none_match.contains_weak(etag.strip('"'))
    since = request.if_modified_since
    return since is not None and upload.modified_at.replace(microsecond=0) <= since


def _wanted_part(upload: Upload, headers: dict[str, str]) -> Part | None:
    """Return the part that Range asks for, None for all: as well where If-Range names another file.

    Raises RANGE_NOT_SATISFIABLE.
    """
    condition = request.headers.get("If-Range")
    if request.method != "GET" or condition not in (None, headers["ETag"], headers["Last-Modified"]):
        return None
    try:
        return single_part(request.headers.get("Range", ""), upload.size)
    except Unsatisfiable as error:
        raise Problem("RANGE_NOT_SATISFIABLE", headers={"Content-Range": f"bytes */{upload.size}"}) from error
