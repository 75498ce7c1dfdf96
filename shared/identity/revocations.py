"""Revoked sessions and users, in the memory of this process."""

import threading
import time

from shared.identity.claims import REMEMBERED, Claims
from shared.problems import Problem


class Revocations:
    """What ended before its token did: sessions, and all tokens of a user made before a moment.

    Kept for `REMEMBERED` seconds; filled from auth's feed and, in auth itself, by a logout. From `expect_past` to
    `past_is_known` the process is too young to know what ended before its start: nobody is let in then, which lasts
    milliseconds unless auth is away, and is waited for `patience` seconds at most.
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
        """Return once the past is known; raise SERVICE_UNAVAILABLE when that takes too long."""
        if not self._known.is_set() and not self._known.wait(max(0.0, self._patient_until - time.monotonic())):
            raise Problem("SERVICE_UNAVAILABLE", "Tokens cannot be checked at the moment.")

    def end_session(self, session_id: str, now: float) -> None:
        with self._lock:
            _remember(self._ended, session_id, now, now)

    def end_tokens_before(self, user_id: str, moment: float, now: float) -> None:
        """End the user's tokens that were issued up to the moment, in seconds since 1970."""
        with self._lock:
            earlier, _ = self._before.get(user_id, (0.0, 0.0))
            _remember(self._before, user_id, max(moment, earlier), now)

    def covers(self, claims: Claims) -> bool:
        if claims.session_id in self._ended:
            return True
        moment, _ = self._before.get(claims.user_id, (0.0, 0.0))
        return claims.issued_at <= moment


def _remember(entries: dict[str, tuple[float, float]], key: str, moment: float, now: float) -> None:
    """Put an entry last, and forget from the first on those that no living token can need."""
    entries.pop(key, None)
    entries[key] = (moment, now + REMEMBERED)
    while entries and next(iter(entries.values()))[1] <= now:
        del entries[next(iter(entries))]
