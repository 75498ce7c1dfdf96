"""Delete what deleted users leave behind."""

from typing import Any

from services.uploads import keeping
from services.uploads.config import Config
from services.uploads.models import FeedPosition, Upload, Usage, database
from services.uploads.storage import Storage
from services.uploads.variants import VariantCache
from shared.feed import DatabaseReader


class OwnerReader(DatabaseReader):
    """Follow auth's feed: a deleted user's rows go in the transaction that keeps the position, the bytes after it."""

    def __init__(self, config: Config, storage: Storage, variants: VariantCache) -> None:
        handlers = {"user.deleted": self._delete_all}
        super().__init__(
            "auth", config.auth_url, config.internal_token, handlers, database=database, position=FeedPosition
        )
        self._storage = storage
        self._variants = variants
        self._keys: list[str] = []

    def _commit(self, events: list[dict[str, Any]]) -> None:
        self._keys.clear()
        super()._commit(events)
        for key in self._keys:
            keeping.drop_bytes(self._storage, self._variants, key)

    def _delete_all(self, event: dict[str, Any]) -> None:
        Usage.lock(event["subject"])
        for upload in Upload.of(event["subject"]):
            if keeping.erase(upload):
                self._keys.append(upload.key)
        Usage.delete().where(Usage.user_id == event["subject"]).execute()
