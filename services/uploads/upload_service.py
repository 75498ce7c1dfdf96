"""Create and delete uploads, row and bytes together: at any moment a row has its bytes.

Bytes come before their row and go after it. What is left when that is interrupted are bytes without a row,
which `sweeping` removes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import peewee

from services.uploads.file_types import pdf
from services.uploads.file_types.registry import PDF
from services.uploads.http.incoming_file import Received
from services.uploads.imaging import worker_pool
from services.uploads.models import Upload, Usage, database, feed
from services.uploads.storage.base import Storage
from services.uploads.storage.tus_parts import TusParts
from services.uploads.storage.variant_cache import VariantCache
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
        picture = worker_pool.clean(received.draft, received.kind, user_id)
        upload.width, upload.height = picture["width"], picture["height"]
        for name, value in picture.get("content", {}).items():
            setattr(upload, name, value)
    return upload


@dataclass(frozen=True)
class UploadService:
    """What belongs together to keep uploads; `quota` is how many bytes those of one user may have."""

    storage: Storage
    variants: VariantCache
    partials: TusParts
    quota: int

    @contextmanager
    def stored(self, draft: BinaryIO, upload: Upload) -> Iterator[None]:
        """Keep the bytes while the block records their upload, and for good only if it did."""
        try:
            self.storage.save(draft, upload.key, upload.sha256)
            yield
        finally:
            self._drop_unless_recorded(upload)

    def _drop_unless_recorded(self, upload: Upload) -> None:
        """Ask the database rather than the exception: a commit that failed to answer may have happened."""
        try:
            if not Upload.known([upload.key]):
                self.storage.delete(upload.key)
        except (peewee.PeeweeException, OSError) as error:
            _logger.warning("bytes may be left for the sweeper: %s", type(error).__name__)

    def record(self, upload: Upload) -> None:
        """Write the row and the fact and count the bytes; raise QUOTA_EXCEEDED."""
        with database.atomic():
            self.count(upload.user_id, upload.size)
            upload.save(force_insert=True)
            feed.publish("upload.created", upload.id, _fact(upload))

    def replace(self, upload: Upload, new: Upload) -> None:
        """Give a locked upload other bytes, inside a transaction; raise QUOTA_EXCEEDED.

        The old ones go after the commit.
        """
        self.count(upload.user_id, new.size - upload.size)
        values = {name: getattr(new, name) for name in _OF_THE_BYTES}
        change(upload, private=new.private, modified_at=clock.now(), **values)

    def count(self, user_id: str, size: int) -> None:
        """Count so many bytes more, or fewer, for a user, inside a transaction.

        Raises QUOTA_EXCEEDED, and TOKEN_REVOKED where the user was deleted while the bytes came in.
        """
        if size <= 0:
            Usage.remove(user_id, -size)
        elif not Usage.add(user_id, size, self.quota):
            if Usage.is_gone(user_id):
                raise Problem("TOKEN_REVOKED")
            raise Problem("QUOTA_EXCEEDED", f"Your uploads may have {self.quota} bytes together.", maxSize=self.quota)

    def drop_bytes(self, key: str) -> None:
        """Remove the bytes that no upload has any more, and what was made of them; the sweeper tries again."""
        try:
            self.storage.delete(key)
            self.variants.discard(key)
        except OSError as error:
            _logger.warning("bytes are left for the sweeper: %s", error)


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


def _fact(upload: Upload) -> dict[str, Any]:
    return {"userId": upload.user_id, "path": upload.path, "mimeType": upload.mime_type, "private": upload.private}


def ids_after(upload_id: str) -> list[dict[str, Any]]:
    """Return the next uploads, in the order of their ids."""
    uploads = Upload.select(Upload.id).where(Upload.id > upload_id).order_by(Upload.id).limit(PAGE)
    return [{"id": upload.id} for upload in uploads]
