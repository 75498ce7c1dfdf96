"""Uploads: send, list, read, change and delete what is known about a file, and make links to it."""

from contextlib import ExitStack
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from flask import Response

from services.uploads import permissions, upload_service
from services.uploads.file_types.registry import KINDS
from services.uploads.http.incoming_file import Received
from services.uploads.http.multipart import blamed_on, receive, receive_many
from services.uploads.models import NEWEST, Upload, database, idempotency
from services.uploads.schemas import (
    MAX_FILES,
    SignedUrlSchema,
    SignSchema,
    UploadPatchSchema,
    UploadSchema,
)
from services.uploads.signed_urls import Signer
from services.uploads.storage.base import full_disk_is_told
from shared.database.pagination import PageQuerySchema, paginate
from shared.identity.csrf import MULTIPART
from shared.problems import Problem
from shared.service import current_service
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.html_forms import takes_form
from shared.web.responses import no_content, respond

blp = Blueprint("uploads", __name__, url_prefix="/api", description="What is known about files")


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a form with such a field of files."""
    properties = {field: schema, "private": {"type": "boolean", "default": False}}
    form = {"type": "object", "required": [field], "properties": properties}
    encoding = {field: {"contentType": ", ".join(KINDS)}}
    return {"required": True, "content": {MULTIPART: {"schema": form, "encoding": encoding}}}


_shown = UploadSchema()
FILE = {"type": "string", "format": "binary"}
BODY = _form("file", FILE)
MANY = _form("files", {"type": "array", "items": FILE, "minItems": 1, "maxItems": MAX_FILES})


@blp.route("/upload", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(requestBody=BODY)
@signed_in()
@blp.response(201, UploadSchema)
@partial(takes_form, kind=MULTIPART)
def create() -> Response:
    """Store an image or a PDF; the part `private` keeps it from everybody else."""
    user, keeper = require_user(), permissions.current_keeper()
    with full_disk_is_told(), keeper.storage.draft() as draft:
        received = receive(draft)  # before the transaction, which would lock out every other writer meanwhile
        upload = upload_service.prepare(user.user_id, received)
        with keeper.stored(draft, upload):
            return cast(Response, idempotency.run_once(lambda: _record(upload), received.fingerprint))


def _record(upload: Upload) -> Response:
    permissions.current_keeper().record(upload)
    return tagged(upload.version, described(upload), 201, {"Location": f"/api/uploads/{upload.id}"})


@blp.route("/uploads", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED", "INVALID_IMAGE", "QUOTA_EXCEEDED")
@blp.doc(requestBody=MANY)
@signed_in()
@blp.response(201, UploadSchema(many=True, paginated=False))
def create_many() -> Response:
    """Store up to ten files, all or none; the part `private` is for all of them."""
    user, keeper = require_user(), permissions.current_keeper()
    with full_disk_is_told(), ExitStack() as kept:
        received = receive_many(lambda: kept.enter_context(keeper.storage.draft()))
        uploads = [_prepare(user.user_id, number, file) for number, file in enumerate(received)]
        for file, upload in zip(received, uploads, strict=True):
            kept.enter_context(keeper.stored(file.draft, upload))
        fingerprint = b"\n\n".join(file.fingerprint for file in received)
        return cast(Response, idempotency.run_once(lambda: _record_all(uploads), fingerprint))


def _prepare(user_id: str, number: int, received: Received) -> Upload:
    with blamed_on(f"files.{number}"):
        return upload_service.prepare(user_id, received)


def _record_all(uploads: list[Upload]) -> Response:
    with database.atomic():
        for upload in uploads:
            permissions.current_keeper().record(upload)
    return respond([described(upload) for upload in uploads], 201)


@blp.route("/uploads", methods=["GET"])
@signed_in()
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, UploadSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List one's own uploads, the newest first."""
    mine = Upload.of(require_user().user_id)
    return respond([described(upload) for upload in paginate(mine, NEWEST, args, mine.count)])


@blp.route("/uploads/<upload_id>", methods=["GET"])
@signed_in()
@blp.response(200, UploadSchema)
def read(upload_id: str) -> Response:
    """Read what is known about an upload, as its owner or an admin."""
    upload = permissions.own(permissions.by_id(upload_id))
    return tagged(upload.version, described(upload))


@blp.route("/uploads/<upload_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(UploadPatchSchema, location="json_or_form")
@blp.response(200, UploadSchema)
def update(changes: dict[str, Any], upload_id: str) -> Response:
    """Make an upload private or public, as its owner or an admin."""
    with database.atomic():
        upload = permissions.locked(permissions.by_id(upload_id))
        require_match(upload.version, {"private": upload.private}, changes, lambda: described(upload))
        if upload.private != changes["private"]:
            upload_service.change(upload, **changes)
    return tagged(upload.version, described(upload))


@blp.route("/uploads/<upload_id>/sign", methods=["POST"])
@blp.problems("FORBIDDEN")
@signed_in()
@blp.arguments(SignSchema)
@blp.response(200, SignedUrlSchema)
def sign(wish: dict[str, Any], upload_id: str) -> Response:
    """Make a link that shows the file to whoever has it, as its owner."""
    upload = permissions.own(permissions.by_id(upload_id))
    if upload.user_id != require_user().user_id:
        raise Problem("FORBIDDEN", "Only the owner makes links to a private file.")
    link = current_service().get(Signer).sign(upload.id, wish["expires_in"])
    query = urlencode({"expires": link.expires, "signature": link.signature})
    return respond({"url": f"{current_service().public_url}/api/files/by-id/{upload.id}?{query}"})


@blp.route("/uploads/<upload_id>", methods=["DELETE"])
@signed_in()
@blp.response(204)
@takes_form
def delete(upload_id: str) -> Response:
    """Delete an upload and its bytes, as its owner or an admin."""
    with database.atomic():
        upload = permissions.locked(permissions.by_id(upload_id))
        require_match(upload.version, {}, {}, lambda: described(upload))
        if not upload_service.erase(upload):
            raise Problem("NOT_FOUND")
    permissions.current_keeper().drop_bytes(upload.key)
    return no_content()


def described(upload: Upload) -> Any:
    """Return what is known about an upload, ready to serialise."""
    return _shown.dump(upload) | {"url": current_service().public_url + upload.path}
