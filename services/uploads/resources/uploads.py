"""Uploads: send, list, read and delete what is known about a file."""

from typing import Any, cast

from flask import Response, current_app

from services.uploads import access, keeping
from services.uploads.inspection import KINDS
from services.uploads.models import NEWEST, Upload, database, idempotency
from services.uploads.receiving import MULTIPART, receive
from services.uploads.schemas import NoQuerySchema, UploadSchema
from services.uploads.storage import full_disk_is_told
from shared.api import Blueprint, no_content, respond
from shared.auth import require_user, signed_in
from shared.etag import require_match, tagged
from shared.pagination import PageQuerySchema, paginate
from shared.problems import Problem

blp = Blueprint("uploads", __name__, url_prefix="/api", description="What is known about files")

FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}, "private": {"type": "boolean", "default": False}},
}
BODY = {
    "required": True,
    "content": {MULTIPART: {"schema": FORM, "encoding": {"file": {"contentType": ", ".join(KINDS)}}}},
}


@blp.route("/upload", methods=["POST"])
@blp.doc(requestBody=BODY)
@signed_in()
@blp.arguments(NoQuerySchema, location="query")
@blp.response(201, UploadSchema)
def create(_args: dict[str, Any]) -> Response:
    """Store an image or a PDF; the part `private` keeps it from everybody else."""
    user, storage = require_user(), access.current_storage()
    with full_disk_is_told(), storage.draft() as draft:
        received = receive(draft)  # before the transaction, which would lock out every other writer meanwhile
        upload = keeping.prepare(user.user_id, received, draft)
        with keeping.stored(storage, draft, upload):
            return cast(Response, idempotency.run_once(lambda: _record(upload), received.fingerprint))


def _record(upload: Upload) -> Response:
    keeping.record(upload)
    return tagged(upload.version, _data(upload), 201, {"Location": f"/api/uploads/{upload.id}"})


@blp.route("/uploads", methods=["GET"])
@signed_in()
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, UploadSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List one's own uploads, the newest first."""
    mine = Upload.of(require_user().user_id)
    return respond([_data(upload) for upload in paginate(mine, NEWEST, args, mine.count)])


@blp.route("/uploads/<upload_id>", methods=["GET"])
@signed_in()
@blp.arguments(NoQuerySchema, location="query")
@blp.response(200, UploadSchema)
def read(_args: dict[str, Any], upload_id: str) -> Response:
    """Read what is known about an upload, as its owner or an admin."""
    upload = access.own(access.by_id(upload_id))
    return tagged(upload.version, _data(upload))


@blp.route("/uploads/<upload_id>", methods=["DELETE"])
@signed_in()
@blp.arguments(NoQuerySchema, location="query")
@blp.response(204)
def delete(_args: dict[str, Any], upload_id: str) -> Response:
    """Delete an upload and its bytes, as its owner or an admin."""
    with database.atomic():
        upload = access.own(access.by_id(upload_id))
        require_match(upload.version, {}, {}, lambda: _data(upload))
        if not keeping.erase(upload):
            raise Problem("NOT_FOUND")
    keeping.drop_bytes(access.current_storage(), upload.key)
    return no_content()


def _data(upload: Upload) -> Any:
    public_url: str = current_app.extensions["postern.config"].public_url
    return UploadSchema().dump(upload) | {"url": public_url + upload.path}
