"""Resumable uploads: tus 1.0 with creation, creation with upload, expiration, checksum and termination."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, BinaryIO, cast

from flask import Response, request
from werkzeug.http import http_date

from services.uploads import permissions, upload_service
from services.uploads.http.incoming_file import BLOCK, blocks
from services.uploads.models import Resumable, Upload, Usage, database, idempotency
from services.uploads.resumable import tus_protocol
from services.uploads.resumable.resumable_uploads import ResumableUploads
from services.uploads.storage.base import full_disk_is_told
from shared import clock
from shared.database.connection import get_or_404
from shared.ids import id_or_404
from shared.problems import Problem
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.responses import no_content

blp = Blueprint("tus", __name__, url_prefix="/api/uploads/tus", description="Uploads that go on where they broke off")

KEPT = timedelta(hours=24)


def _header(name: str, text: str, required: bool = True) -> dict[str, Any]:
    return {"in": "header", "name": name, "required": required, "description": text, "schema": {"type": "string"}}


VERSION = _header("Tus-Resumable", tus_protocol.VERSION)
CHECKSUM = _header("Upload-Checksum", "sha1 or sha256 of this body, in Base64", required=False)
PART = {"content": {tus_protocol.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


@blp.before_request
def _check_version() -> None:
    if request.method != "OPTIONS":
        tus_protocol.check_version(request.headers)


@blp.after_request
def _speak_tus(response: Response) -> Response:
    response.headers["Tus-Resumable"] = tus_protocol.VERSION
    if request.method == "OPTIONS":
        response.headers.update(tus_protocol.DISCOVERY)
    return response


@blp.route("", methods=["POST"])
@blp.problems("CONFLICT", "PRECONDITION_FAILED", "CHECKSUM_MISMATCH", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(
    requestBody=PART | {"required": False},
    parameters=[
        VERSION,
        _header("Upload-Length", "Bytes of the whole file"),
        _header("Upload-Metadata", "filename, and private (true or false), each followed by its value in Base64"),
        CHECKSUM,
    ],
)
@signed_in()
@blp.response(201)
def create() -> Response:
    """Begin an upload, with its first bytes or none; it will have the id that its address ends with."""
    header = request.headers.get("Upload-Metadata", "")
    tus_protocol.metadata(header)
    user_id, length = require_user().user_id, tus_protocol.length(request.headers)
    row = Resumable(user_id=user_id, length=length, metadata=header, expires_at=clock.now() + KEPT)
    if request.content_length or "Transfer-Encoding" in request.headers:
        tus_protocol.check_type(request.mimetype)
    with full_disk_is_told(), _whole_body(length) as body:
        fingerprint = f"{length}\n{header}\n{hashlib.file_digest(cast(Any, body), 'sha256').hexdigest()}"
        response = cast(Response, idempotency.run_once(lambda: _begin(row), fingerprint.encode()))
        if "Idempotency-Replayed" not in response.headers:
            _add_first(row, body)
    for begun in Resumable.live(user_id, response.headers["Location"].rsplit("/")[-1]):
        response.headers.update(_state(begun))
    return response


def _begin(row: Resumable) -> Response:
    _resumer().begin(row)
    return Response(status=201, headers={"Location": f"/api/uploads/tus/{row.id}"})


def _add_first(row: Resumable, body: BinaryIO) -> None:
    """Add what came with the beginning; nobody has been told of the upload when that fails."""
    try:
        body.seek(0)
        _resumer().add(row, 0, _in_blocks(body))
    except Exception:
        _resumer().drop(row)
        raise


@blp.route("/<upload_id>", methods=["HEAD"])
@blp.problems("PRECONDITION_FAILED")
@blp.doc(parameters=[VERSION])
@signed_in()
@blp.response(200)
def read(upload_id: str) -> Response:
    """Tell how much of an upload is there."""
    row = _own(upload_id)
    about = {"Upload-Length": str(row.length), "Upload-Metadata": row.metadata}
    return Response(headers=_state(row) | about)


@blp.route("/<upload_id>", methods=["PATCH"])
@blp.problems("CONFLICT", "CHECKSUM_MISMATCH", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(
    requestBody=PART | {"required": True},
    parameters=[VERSION, _header("Upload-Offset", "Where these bytes begin: where the last ones ended"), CHECKSUM],
)
@signed_in()
@blp.response(204)
def send(upload_id: str) -> Response:
    """Send more of a file; the last byte makes an upload of it, or is refused as any other upload is."""
    row, resumer = _own(upload_id), _resumer()
    tus_protocol.check_type(request.mimetype)
    offset = tus_protocol.number(request.headers, "Upload-Offset")
    if offset != resumer.offset(row):
        raise Problem("CONFLICT", "The upload has another offset.")
    rest = row.length - offset
    with full_disk_is_told(), ExitStack() as kept:
        checked = "Upload-Checksum" in request.headers
        body = _in_blocks(kept.enter_context(_whole_body(rest))) if checked else blocks(rest)
        offset = resumer.add(row, offset, body)
    response = no_content()
    response.headers.update(_state(row) | {"Upload-Offset": str(offset)})
    return response


@blp.route("/<upload_id>", methods=["DELETE"])
@blp.doc(parameters=[VERSION])
@signed_in()
@blp.response(204)
def delete(upload_id: str) -> Response:
    """Give an upload up, or delete it when it is complete."""
    row = _own(upload_id)
    with database.atomic():
        Usage.lock(row.user_id)
        upload: Upload | None = Upload.get_or_none(Upload.id == row.id)
        if upload:
            upload_service.erase(upload)
    if upload:
        permissions.current_keeper().drop_bytes(upload.key)
    _resumer().drop(row)
    return no_content()


def _resumer() -> ResumableUploads:
    return ResumableUploads(permissions.current_keeper())


def _own(upload_id: str) -> Resumable:
    row: Resumable = get_or_404(Resumable.live(require_user().user_id, id_or_404(upload_id)))
    return row


def _state(row: Resumable) -> dict[str, str]:
    offset = _resumer().offset(row)
    return {"Upload-Offset": str(offset), "Upload-Expires": http_date(row.expires_at)}


@contextmanager
def _whole_body(max_size: int) -> Iterator[BinaryIO]:
    """Give all of the request's body, once it has come and is what Upload-Checksum announces."""
    header = request.headers.get("Upload-Checksum")
    checksum = tus_protocol.Checksum(header) if header is not None else None
    with permissions.current_keeper().storage.draft() as draft:
        for block in blocks(max_size):
            if checksum:
                checksum.digest.update(block)
            draft.write(block)
        if checksum:
            checksum.check()
        draft.seek(0)
        yield draft


def _in_blocks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(BLOCK), b"")
