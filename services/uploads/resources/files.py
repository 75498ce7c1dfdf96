"""Files: give out the bytes, so that nothing in them can act in a browser, and take them under names of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from flask import Response, request
from werkzeug.http import http_date

from services.uploads import permissions, upload_service
from services.uploads.file_paths import new_name, normal
from services.uploads.file_types.registry import KINDS, PDF
from services.uploads.http import download
from services.uploads.http.byte_ranges import ByteRanges, Part, Unsatisfiable, content_range, wanted_parts
from services.uploads.http.content_disposition import disposition
from services.uploads.http.digests import HEADER, repr_digest
from services.uploads.http.incoming_file import Received, receive_raw
from services.uploads.imaging.variant_spec import Variant
from services.uploads.models import Query, Upload, Usage, database, idempotency
from services.uploads.resources.uploads import described
from services.uploads.schemas import FileQuerySchema, FileWriteQuerySchema, UploadSchema
from services.uploads.signed_urls import SignedLink
from services.uploads.storage.base import full_disk_is_told
from shared.identity.credentials import has_credentials
from shared.ids import id_or_404, is_id
from shared.problems import Problem
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import is_known, require_match, tagged
from shared.web.responses import no_content

blp = Blueprint("files", __name__, url_prefix="/api/files", description="The files themselves")

POLICY = "default-src 'none'; sandbox"
PUBLIC = "public, max-age=300"
PRIVATE = "private, no-store"
BYTES = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
BODY = {"required": True, "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in KINDS}}
TRIES = 3
ANSWERS = {
    200: {"description": "The file"} | BYTES,
    206: {"description": "The parts of the file that Range names"} | BYTES,
    304: {"description": "The client has it already"},
}


@blp.route("/by-id/<upload_id>", methods=["GET"])
@blp.problems("FORBIDDEN", "LINK_EXPIRED")
@blp.doc(responses=ANSWERS)
@blp.arguments(FileQuerySchema, location="query")
def read_by_id(args: dict[str, Any], upload_id: str) -> Response:
    """Read a file at the address that stays."""
    return _give_out(permissions.by_id(upload_id), args)


@blp.route("/<user_id>/<path:path>", methods=["GET"])
@blp.problems("FORBIDDEN", "LINK_EXPIRED")
@blp.doc(responses=ANSWERS)
@blp.arguments(FileQuerySchema, location="query")
def read(args: dict[str, Any], user_id: str, path: str) -> Response:
    """Read a file by its owner and path."""
    if not is_id(user_id) or "\0" in path:
        raise Problem("NOT_FOUND")
    return _give_out(Upload.named(user_id, normal(path)), args)


@blp.route("/<user_id>/<path:path>", methods=["POST"])
@blp.problems("FORBIDDEN", "CONFLICT", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(requestBody=BODY)
@signed_in()
@blp.arguments(FileWriteQuerySchema, location="query")
@blp.response(201, UploadSchema)
def create(args: dict[str, Any], user_id: str, path: str) -> Response:
    """Store the body under a new path of one's own."""
    name = _own_name(user_id, path)
    is_no_replay = "Idempotency-Key" not in request.headers or "If-Match" in request.headers
    if is_no_replay and _current(user_id, name):
        raise Problem("CONFLICT", "There is a file at this path already.")
    with _received(name, args.get("private", False)) as (upload, received):
        return cast(Response, idempotency.run_once(lambda: _record(upload), received.fingerprint))


def _record(upload: Upload) -> Response:
    permissions.current_keeper().record(upload)
    return tagged(upload.version, described(upload), 201, {"Location": upload.path})


@blp.route("/<user_id>/<path:path>", methods=["PUT"])
@blp.problems("FORBIDDEN", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(requestBody=BODY)
@signed_in()
@blp.arguments(FileWriteQuerySchema, location="query")
@blp.alt_response(201, schema=UploadSchema)
@blp.response(200, UploadSchema)
def replace(args: dict[str, Any], user_id: str, path: str) -> Response:
    """Store the body under a path of one's own, in place of what is there (200), or as new (201)."""
    name = _own_name(user_id, path)
    _current(user_id, name)  # asked twice: now, to spare the client a body in vain, and under the lock
    with _received(name, args.get("private", False)) as (upload, _):
        with database.atomic():
            Usage.lock(user_id)
            current = _current(user_id, name)
            if current is None:
                return _record(upload)
            replaced = current.key
            upload.private = args.get("private", current.private)
            permissions.current_keeper().replace(current, upload)
        permissions.current_keeper().drop_bytes(replaced)
    return tagged(current.version, described(current), 200, {"Content-Location": f"/api/uploads/{current.id}"})


@blp.route("/<user_id>/<path:path>", methods=["DELETE"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.response(204)
def delete(user_id: str, path: str) -> Response:
    """Delete the file at a path of one's own."""
    _check_owner(user_id)
    with database.atomic():
        upload = permissions.locked(Upload.named(user_id, normal(path)))
        require_match(upload.version, {}, {}, etag=upload.etag, modified_at=upload.modified_at)
        upload_service.erase(upload)
    permissions.current_keeper().drop_bytes(upload.key)
    return no_content()


def _own_name(user_id: str, path: str) -> str:
    _check_owner(user_id)
    return new_name(path)


def _check_owner(user_id: str) -> None:
    if require_user().user_id != id_or_404(user_id):
        raise Problem("FORBIDDEN", "This is somebody else's folder.")


def _current(user_id: str, name: str) -> Upload | None:
    """Return what is at a path now; raise PRECONDITION_FAILED where the client expects something else there."""
    upload: Upload | None = Upload.named(user_id, name).first()
    if upload is None:
        if "If-Match" in request.headers:
            raise Problem("PRECONDITION_FAILED", "There is nothing at this path.")
        return None
    require_match(upload.version, {}, {}, etag=upload.etag, modified_at=upload.modified_at)
    return upload


@contextmanager
def _received(name: str, private: bool) -> Iterator[tuple[Upload, Received]]:
    """Take the body and keep its bytes while the block records them."""
    keeper = permissions.current_keeper()
    with full_disk_is_told(), keeper.storage.draft() as draft:
        received = receive_raw(draft, name.split("/")[-1], private)
        upload = upload_service.prepare(require_user().user_id, received)
        upload.name = name
        with keeper.stored(draft, upload):
            yield upload, received


def _give_out(query: Query, args: dict[str, Any]) -> Response:
    """Answer with one version of the file, the next one if it is replaced between a look at its row and its bytes."""
    for _ in range(TRIES):
        upload = permissions.visible(query, SignedLink.of(args))
        try:
            return _answer(upload, args)
        except FileNotFoundError:
            continue
    raise Problem("NOT_FOUND")


def _answer(upload: Upload, args: dict[str, Any]) -> Response:
    variant = download.wanted_variant(upload, args)
    headers = _headers(upload, variant, "download" in args)
    if is_known(upload.version, headers["ETag"], upload.modified_at):
        response = Response(status=304, headers=headers)
        del response.headers["Content-Type"]
        return response
    if request.method == "HEAD":
        return _describe(download.content_at_hand(upload, variant), headers)
    content = download.content_of(upload, variant)
    try:
        return _send(upload, content, headers)
    except Problem:
        content.close()
        raise


def _describe(content: download.Content | None, headers: dict[str, str]) -> Response:
    """Answer HEAD without the storage; size and digest of a variant are left out until it is made (RFC 9110, 9.3.2)."""
    if content:
        content.close()
        headers |= {HEADER: repr_digest(content.sha256), "Content-Length": str(content.size)}
    return Response(iter(()), headers=headers)  # an empty list would get a Content-Length of 0


def _send(upload: Upload, content: download.Content, headers: dict[str, str]) -> Response:
    headers[HEADER] = repr_digest(content.sha256)
    parts = _wanted_parts(upload, content.size, headers)
    if len(parts) > 1:
        several = ByteRanges(parts, content.size, headers["Content-Type"], content.open)
        headers |= {"Content-Type": several.mime_type, "Content-Length": str(several.length)}
        return Response(download.to_send(several, several.length), 206, headers)
    if parts:
        headers["Content-Range"] = content_range(parts[0], content.size)
    start, stop = parts[0] if parts else (0, content.size)
    headers["Content-Length"] = str(stop - start)
    blocks = download.to_send(content.open(start, stop), stop - start)
    return Response(blocks, 206 if parts else 200, headers)


def _headers(upload: Upload, variant: Variant | None, wants_attachment: bool) -> dict[str, str]:
    """Return the headers of any answer about the file; one to credentials is stored by nobody."""
    environ = request.environ
    shown_to_one = has_credentials(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", ""))
    kind = variant.kind if variant else upload.kind
    return {
        "Content-Type": kind.mime_type,
        "ETag": upload.etag_of(variant.name) if variant else upload.etag,
        "Last-Modified": http_date(upload.modified_at),
        "Cache-Control": PRIVATE if upload.private or shown_to_one else PUBLIC,
        "Content-Disposition": disposition(upload.filename, kind, wants_attachment or kind is PDF),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
    }


def _wanted_parts(upload: Upload, size: int, headers: dict[str, str]) -> list[Part]:
    """Return the parts that Range asks for, none for all: as well where If-Range names another file.

    Raises RANGE_NOT_SATISFIABLE.
    """
    condition = request.headers.get("If-Range")
    dates = [headers["Last-Modified"]] if upload.version == 1 else []  # two versions may be of one second
    if condition not in (None, headers["ETag"], *dates):
        return []
    try:
        return wanted_parts(request.headers.get("Range", ""), size)
    except Unsatisfiable as error:
        raise Problem("RANGE_NOT_SATISFIABLE", headers={"Content-Range": f"bytes */{size}"}) from error
