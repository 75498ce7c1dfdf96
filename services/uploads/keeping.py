"""Add and remove uploads, row and bytes together: at any moment a row has its bytes.

Bytes come before their row and go after it. What is left when that is interrupted are bytes without a row,
which `sweeping` removes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import peewee

from services.uploads import decoding, pdf
from services.uploads.inspection import PDF
from services.uploads.models import Upload, Usage, database, feed
from services.uploads.receiving import Received
from services.uploads.storage import Storage
from services.uploads.variants import VariantCache
from shared import clock
from shared.ids import new_id
from shared.problems import Problem

PAGE = 500  # rows that another service gets at once
_OF_THE_BYTES = ("key", "mime_type", "size", "sha256", "width", "height")
_logger = logging.getLogger("postern.uploads")


def prepare(user_id: str, received: Received) -> Upload:
    """Return the row to be for what was received; its draft now holds the bytes to store. Raises INVALID_IMAGE."""
    upload_id = new_id()
    name = f"{upload_id}.{received.kind.extension}"
    upload = Upload(
        id=upload_id,
        user_id=user_id,
        name=name,
        key=f"{user_id}/{name}",
        filename=received.filename,
        mime_type=received.kind.mime_type,
        size=received.size,
        sha256=received.sha256,
        private=received.private,
    )
    if received.kind is PDF:
        pdf.check(received.draft)
    else:
        picture = decoding.clean(received.draft, received.kind)
        upload.width, upload.height = picture["width"], picture["height"]
        for name, value in picture.get("content", {}).items():
            setattr(upload, name, value)
    return upload


@contextmanager
def stored(storage: Storage, draft: BinaryIO, upload: Upload) -> Iterator[None]:
    """Keep the bytes while the block records their upload, and for good only if it did."""
    try:
        storage.save(draft, upload.key, upload.sha256)
        yield
    finally:
        _drop_unless_recorded(storage, upload)


def _drop_unless_recorded(storage: Storage, upload: Upload) -> None:
    """Ask the database rather than the exception: a commit that failed to answer may have happened."""
    try:
        if not Upload.known([upload.key]):
            storage.delete(upload.key)
    except (peewee.PeeweeException, OSError) as error:
        _logger.warning("bytes may be left for the sweeper: %s", type(error).__name__)


def record(upload: Upload, quota: int) -> None:
    """Write the row and the fact and count the bytes; raise QUOTA_EXCEEDED."""
    with database.atomic():
        count(upload.user_id, upload.size, quota)
        upload.add()
        feed.publish("upload.created", upload.id, _fact(upload))


def replace(upload: Upload, new: Upload, quota: int) -> None:
    """Give a locked upload other bytes, inside a transaction; raise QUOTA_EXCEEDED.

    The old ones go after the commit.
    """
    count(upload.user_id, new.size - upload.size, quota)
    values = {name: getattr(new, name) for name in _OF_THE_BYTES}
    change(upload, private=new.private, modified_at=clock.now(), **values)


def count(user_id: str, size: int, quota: int) -> None:
    """Count so many bytes more, or fewer, for a user, inside a transaction.

    Raises QUOTA_EXCEEDED, and TOKEN_REVOKED where the user was deleted while the bytes came in.
    """
    if size <= 0:
        Usage.remove(user_id, -size)
    elif not Usage.add(user_id, size, quota):
        if Usage.is_gone(user_id):
            raise Problem("TOKEN_REVOKED")
        raise Problem("QUOTA_EXCEEDED", f"Your uploads may have {quota} bytes together.", maxSize=quota)


def change(upload: Upload, **values: Any) -> None:
    """Change what is known about an upload and raise its version, inside a transaction."""
    for name, value in (values | {"version": upload.version + 1}).items():
        setattr(upload, name, value)
    upload.save()
    feed.publish("upload.updated", upload.id, _fact(upload))


def erase(upload: Upload) -> bool:
    """Delete the row, locked inside a transaction; False when somebody was faster. The bytes go after the commit."""
    if not Upload.delete().where(Upload.id == upload.id).execute():
        return False
    Usage.remove(upload.user_id, upload.size)
    feed.publish("upload.deleted", upload.id, _fact(upload))
    return True


def drop_bytes(storage: Storage, variants: VariantCache, key: str) -> None:
    """Remove the bytes that no upload has any more, and what was made of them; what fails is left for the sweeper."""
    try:
        storage.delete(key)
        variants.discard(key)
    except OSError as error:
        _logger.warning("bytes are left for the sweeper: %s", error)


def _fact(upload: Upload) -> dict[str, Any]:
    return {"userId": upload.user_id, "path": upload.path, "mimeType": upload.mime_type, "private": upload.private}


def ids_after(upload_id: str) -> list[dict[str, Any]]:
    """Return the next uploads, in the order of their ids."""
    uploads = Upload.select(Upload.id).where(Upload.id > upload_id).order_by(Upload.id).limit(PAGE)
    return [{"id": upload.id} for upload in uploads]
