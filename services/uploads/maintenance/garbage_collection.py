"""Garbage collection: delete stored bytes without a row, which a crash in an upload or deletion leaves behind."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from services.uploads.models import Resumable, Upload, Usage, database
from services.uploads.resumable.resumable_uploads import ResumableUploads
from services.uploads.storage.base import Storage
from services.uploads.storage.variant_cache import VariantCache
from services.uploads.upload_service import UploadService
from shared import clock
from shared.database.database_task import DatabaseTask
from shared.database.locking import delete_unlocked

AFTERLIFE = timedelta(days=1)  # no upload of a deleted user is under way for longer
GRACE = timedelta(minutes=15)  # an upload under way is younger
PAUSE = 3600.0  # seconds
BATCH = 500

_logger = logging.getLogger("postern.uploads")


def sweep(storage: Storage, before: datetime) -> int:
    """Remove drafts and bytes without a row that were last written to before that; return how many bytes' keys."""
    storage.discard_drafts(before)
    removed = 0
    old = (stored.key for stored in storage.list() if stored.modified < before)
    for keys in _batches(old):
        orphans = set(keys) - Upload.known(keys)
        if orphans and not Upload.select().exists():
            _logger.warning("the table of uploads is empty, but there are files: nothing is removed")
            return removed
        for key in orphans:
            storage.delete(key)
        removed += len(orphans)
    return removed


def sweep_partials(keeper: UploadService, now: datetime) -> None:
    """Remove uploads that were not completed in time, and parts of files that no upload knows."""
    for row in Resumable.expired(now):
        ResumableUploads(keeper).drop(row)
    delete_unlocked(Resumable, Resumable.done & (Resumable.expires_at <= now))
    for ids in _batches(stored.key for stored in keeper.partials.list() if stored.modified < now - GRACE):
        for upload_id in set(ids) - Resumable.known(ids):
            keeper.partials.discard(upload_id)


def sweep_variants(variants: VariantCache) -> None:
    """Remove what was made of images that are gone, and count the rest."""
    for keys in _batches(iter(variants.keys())):
        for key in set(keys) - Upload.known(keys):
            variants.discard(key)
    variants.recount()


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, BATCH)):
        yield batch


class GarbageCollector(DatabaseTask):
    """Check the storage at the start, then sweep it, and every hour again, in a thread of its own."""

    after_failure = PAUSE

    def __init__(self, keeper: UploadService) -> None:
        super().__init__("sweeping of the storage", PAUSE, self._sweep, database)
        self._keeper = keeper

    def _run(self) -> None:
        try:
            self._keeper.storage.check()
        except OSError as error:
            _logger.error("the storage does not work: %s", error)
        super()._run()

    def _sweep(self) -> None:
        with database.connection_context():
            Usage.forget(clock.now() - AFTERLIFE)
            sweep_partials(self._keeper, clock.now())
            sweep_variants(self._keeper.variants)
            if removed := sweep(self._keeper.storage, clock.now() - GRACE):
                _logger.info("removed %d files that no upload knows", removed)
