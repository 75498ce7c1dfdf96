"""Delete what deleted users leave behind."""

from typing import Any

from services.uploads.config import Config
from services.uploads.models import FeedPosition, Resumable, Upload, Usage, database
from services.uploads.upload_service import UploadService, erase
from shared.feed.database_consumer import SingleFactConsumer


class OwnerConsumer(SingleFactConsumer):
    """Follow auth's feed: a deleted user's rows go in the transaction that keeps the position, the bytes after it."""

    def __init__(self, config: Config, keeper: UploadService) -> None:
        handlers = {"user.deleted": self._delete_all}
        super().__init__("auth", config.auth_url, config.internal_token, handlers, position=FeedPosition)
        self._keeper = keeper
        self._keys: list[str] = []
        self._ids: list[str] = []

    def rebuild(self) -> None:
        """Delete what belongs to users whom auth does not know."""
        for page in self.pages("/internal/users"):
            for user_id in Usage.owners(page.after, page.last) - page.ids:
                self._forget_bytes()
                with database.atomic():
                    self._delete_all({"subject": user_id})
                self._drop_bytes()

    def _commit(self, events: list[dict[str, Any]]) -> None:
        self._forget_bytes()
        super()._commit(events)
        self._drop_bytes()

    def _forget_bytes(self) -> None:
        self._keys.clear()
        self._ids.clear()

    def _drop_bytes(self) -> None:
        for key in self._keys:
            self._keeper.drop_bytes(key)
        for upload_id in self._ids:
            self._keeper.partials.discard(upload_id)

    def _delete_all(self, event: dict[str, Any]) -> None:
        Usage.lock(event["subject"])
        for upload in Upload.of(event["subject"]):
            if erase(upload):
                self._keys.append(upload.key)
        begun = Resumable.user_id == event["subject"]
        self._ids += [row.id for row in Resumable.select().where(begun)]
        Resumable.delete().where(begun).execute()
        Usage.end(event["subject"])
