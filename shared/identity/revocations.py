"""Revocations of sessions and tokens, in the memory of this process."""

import threading
import time

from shared.identity.claims import REMEMBERED, Claims
from shared.problems import Problem


class Revocations:
    """Revoked sessions, and for each user the moment up to which all their tokens are revoked.

    Entries come from auth's feed and, in auth itself, from a logout. They are dropped after `REMEMBERED` seconds. From
    `expect_past` to `past_is_known` the process has not read the feed yet. It then accepts no token: requests wait, up
    to `patience` seconds after the start. This takes milliseconds unless auth is down.
    """

    def __init__(self, patience: float = 3.0) -> None:
        self._ended: dict[str, tuple[float, float]] = {}
        self._before: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._known = threading.Event()
        self._known.set()
        self._patience = patience
        self._patient_until = 0.0

    def expect_past(self) -> None:
        self._patient_until = time.monotonic() + self._patience
        self._known.clear()

    def past_is_known(self) -> None:
        self._known.set()

    def await_past(self) -> None:
        """Wait until the feed was read; raise SERVICE_UNAVAILABLE if that takes too long."""
        if not self._known.is_set() and not self._known.wait(max(0.0, self._patient_until - time.monotonic())):
            raise Problem("SERVICE_UNAVAILABLE", "Tokens cannot be checked at the moment.")

    def end_session(self, session_id: str, now: float) -> None:
        with self._lock:
            _remember(self._ended, session_id, now, now)

    def end_tokens_before(self, user_id: str, moment: float, now: float) -> None:
        """Revoke the user's tokens that were issued up to the moment, in seconds since 1970."""
        with self._lock:
            earlier, _ = self._before.get(user_id, (0.0, 0.0))
            _remember(self._before, user_id, max(moment, earlier), now)

    def covers(self, claims: Claims) -> bool:
        if claims.session_id in self._ended:
            return True
        moment, _ = self._before.get(claims.user_id, (0.0, 0.0))
        return claims.issued_at <= moment


def _remember(entries: dict[str, tuple[float, float]], key: str, moment: float, now: float) -> None:
    """Add an entry at the end, and drop expired ones from the start."""
    entries.pop(key, None)
    entries[key] = (moment, now + REMEMBERED)
    while entries and next(iter(entries.values()))[1] <= now:
        del entries[next(iter(entries))]
