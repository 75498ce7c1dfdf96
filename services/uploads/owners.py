"""Delete what deleted users leave behind."""

from typing import Any

from services.uploads import keeping
from services.uploads.config import Config
from services.uploads.models import FeedPosition, Resumable, Upload, Usage, database
from services.uploads.partials import Partials
from services.uploads.storage import Storage
from services.uploads.variants import VariantCache
from shared.feed import DatabaseReader


class OwnerReader(DatabaseReader):
    """Follow auth's feed: a deleted user's rows go in the transaction that keeps the position, the bytes after it."""

    def __init__(self, config: Config, storage: Storage, variants: VariantCache, partials: Partials) -> None:
        handlers = {"user.deleted": self._delete_all}
        super().__init__(
            "auth", config.auth_url, config.internal_token, handlers, database=database, position=FeedPosition
        )
        self._storage = storage
        self._variants = variants
        self._partials = partials
        self._keys: list[str] = []
        self._ids: list[str] = []

    def _commit(self, events: list[dict[str, Any]]) -> None:
        self._keys.clear()
        self._ids.clear()
        super()._commit(events)
        for key in self._keys:
            keeping.drop_bytes(self._storage, self._variants, key)
        for upload_id in self._ids:
            self._partials.discard(upload_id)

    def _delete_all(self, event: dict[str, Any]) -> None:
        Usage.lock(event["subject"])
        for upload in Upload.of(event["subject"]):
            if keeping.erase(upload):
                self._keys.append(upload.key)
        begun = Resumable.user_id == event["subject"]
        self._ids += [row.id for row in Resumable.select().where(begun)]
        Resumable.delete().where(begun).execute()
        Usage.delete().where(Usage.user_id == event["subject"]).execute()
