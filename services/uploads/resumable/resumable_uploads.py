"""Resumable uploads: created, appended to, completed like any other upload, or terminated.

Example: a file of 100 bytes is created with `Upload-Length: 100`. PATCH at offset 0 with 60 bytes answers offset 60.
The connection breaks in the next PATCH after 10 bytes; HEAD answers 70. PATCH at offset 60 is a 409, PATCH at offset 70
with 30 bytes completes the upload: its last block is written only when the file is validated and its row committed.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.uploads import upload_service
from services.uploads.file_types.registry import kind_of
from services.uploads.http.incoming_file import Incoming
from services.uploads.models import Resumable, Upload, Usage, database
from services.uploads.resumable import tus_protocol
from services.uploads.upload_service import UploadService
from shared.problems import Problem


@dataclass(frozen=True)
class ResumableUploads:
    """Continues uploads with what keeps them."""

    keeper: UploadService

    def begin(self, row: Resumable) -> None:
        """Write the row and count the bytes that are to come; raise QUOTA_EXCEEDED."""
        with database.atomic():
            self.keeper.count(row.user_id, row.length)
            row.save(force_insert=True)

    def offset(self, row: Resumable) -> int:
        """Return how many bytes are there, all of them only when the upload has been completed."""
        return row.length if row.done else self.keeper.partials.size(row.id)

    def add(self, row: Resumable, offset: int, blocks: Iterable[bytes]) -> int:
        """Add the blocks, which end at the end of the file at the latest, and return where they end.

        The last block of the file is kept back until the whole is looked into and recorded: a crash before that
        leaves an upload that can be continued, never one that has all its bytes and is not there. Raises CONFLICT,
        NOT_FOUND, and whatever is wrong with the file.
        """
        last, start = b"", offset
        for block in blocks:
            if not offset:
                self._check_start(row, block)
            if offset + len(block) == row.length:
                last = block
            else:
                offset = self.keeper.partials.append(row.id, offset, block)
        if last:
            with self._given_up_when_refused(row):
                self._complete(row, last)
            return row.length
        if offset > start:
            self.keeper.partials.sync(row.id)
            self._check_wanted(row)
        return offset

    def _check_start(self, row: Resumable, block: bytes) -> None:
        """Refuse what cannot become a file that is taken before more of it is sent."""
        with self._given_up_when_refused(row):
            kind = kind_of(block)
            if kind and row.length > kind.max_size:
                detail = f"A file of this type must have at most {kind.max_size} bytes."
                raise Problem("PAYLOAD_TOO_LARGE", detail, maxSize=kind.max_size)

    def _check_wanted(self, row: Resumable) -> None:
        """Keep no bytes of an upload that was given up meanwhile: raise NOT_FOUND."""
        if not Resumable.known([row.id]):
            self.keeper.partials.discard(row.id)
            raise Problem("NOT_FOUND")

    def _complete(self, row: Resumable, last: bytes) -> None:
        """Make an upload with the same id of it."""
        about, start = tus_protocol.metadata(row.metadata), row.length - len(last)
        if self.keeper.partials.size(row.id) < start:
            raise _gone()
        with self.keeper.storage.draft() as draft:
            file = Incoming(draft, "body")
            for block in self.keeper.partials.blocks(row.id, start):
                file.write(block)
            file.write(last)
            received = file.end(about["filename"], about["private"])
            upload = upload_service.prepare(row.user_id, received)
            upload.id, upload.name = row.id, f"{row.id}.{received.kind.extension}"
            with self.keeper.stored(draft, upload):
                self._record(row, upload)
        self.keeper.partials.discard(row.id)

    def _record(self, row: Resumable, upload: Upload) -> None:
        with database.atomic():
            Usage.lock(row.user_id)
            if not Resumable.complete(row.id):
                raise _gone()
            Usage.remove(row.user_id, row.length)
            self.keeper.record(upload)

    @contextmanager
    def _given_up_when_refused(self, row: Resumable) -> Iterator[None]:
        """Keep nothing of a file that will never be taken."""
        try:
            yield
        except Problem as problem:
            if problem.status < 500:
                self.drop(row)
            raise

    def drop(self, row: Resumable) -> None:
        """Forget an upload and the bytes that have come; one that was completed stays."""
        with database.atomic():
            Usage.lock(row.user_id)
            if Resumable.remove(row.id):
                Usage.remove(row.user_id, row.length)
        self.keeper.partials.discard(row.id)


def _gone() -> Problem:
    return Problem("CONFLICT", "The upload was completed or given up by another request.")
