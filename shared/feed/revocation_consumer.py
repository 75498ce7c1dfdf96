"""Keep the revocations of auth's feed in the memory of this process."""

from datetime import datetime
from typing import Any

from shared import clock
from shared.feed.consumer import PAUSE, RETRY, MemoryConsumer
from shared.feed.service_client import BATCH
from shared.identity.claims import LIFETIME
from shared.identity.revocations import Revocations

LOOK_BACK = LIFETIME + 5 * 60


class RevocationConsumer(MemoryConsumer):
    """Apply facts that end sessions or tokens early to `Revocations`."""

    def __init__(self, auth_url: str, token: str, revocations: Revocations) -> None:
        handlers = {
            "session.revoked": self._end_session,
            "user.suspended": self._end_tokens,
            "user.role_changed": self._end_tokens,
            "user.deleted": self._end_tokens,
        }
        super().__init__("auth", auth_url, token, handlers, look_back=LOOK_BACK)
        self._revocations = revocations
        self.after_failure = PAUSE

    def start(self) -> None:
        self._revocations.expect_past()
        super().start()

    def read_batch(self) -> int:
        number = super().read_batch()
        if number < BATCH:
            self._revocations.past_is_known()
            self.after_failure = RETRY
        return number

    def _end_session(self, event: dict[str, Any]) -> None:
        self._revocations.end_session(event["subject"], clock.now().timestamp())

    def _end_tokens(self, event: dict[str, Any]) -> None:
        moment = datetime.fromisoformat(event["time"]).timestamp()
        self._revocations.end_tokens_before(event["subject"], moment, clock.now().timestamp())
