"""Hash passwords with argon2id at the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

import os
import secrets
import threading
from base64 import b64encode
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.auth.models import NO_PASSWORD
from shared.gunicorn import THREADS
from shared.problems import Problem
from shared.processes import return_freed_memory

COMMON = Path(__file__).parent / "common_passwords.txt"
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A hash takes a core for 15 ms: more at once than there are cores would only make everybody wait longer.
PLACES = min(os.cpu_count() or 1, THREADS // 2)
MAX_WAITING = THREADS - 3 - PLACES  # three threads are left to those who need no hash
RETRY_AFTER = 1
KEEP_MEMORY = 5.0  # seconds after a hash: another one is cheaper in the memory of the last than in new pages


class Queue:
    """Let so many in at once and so many wait; refuse the rest."""

    def __init__(self, places: int, max_waiting: int) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._tickets = threading.BoundedSemaphore(places + max_waiting)
        self._keeping = threading.Lock()

    def __enter__(self) -> None:
        if not self._tickets.acquire(blocking=False):
            raise Problem("SERVICE_UNAVAILABLE", "Too many sign in at once.", retryAfter=RETRY_AFTER)
        self._places.acquire()

    def __exit__(self, *_error: object) -> None:
        self._places.release()
        self._tickets.release()
        if self._keeping.acquire(blocking=False):
            timer = threading.Timer(KEEP_MEMORY, self._give_back)
            timer.daemon = True
            timer.start()

    def _give_back(self) -> None:
        return_freed_memory()
        self._keeping.release()


_places = Queue(PLACES, MAX_WAITING)


def check_new(password: str, name: str, email: str, field: str = "password") -> None:
    """Raise VALIDATION_ERROR for one of the commonest passwords, or one that the account itself gives away."""
    folded = password.casefold()
    own = {text.casefold() for text in (name, email, email.rpartition("@")[0])}
    if folded.strip() in own:
        raise _refusal(field, "Must not be the name or the address of the account.")
    if folded in _common():
        raise _refusal(field, "Is one of the commonest passwords, which are tried first.")


def _refusal(field: str, message: str) -> Problem:
    return Problem("VALIDATION_ERROR", errors={field: [message]})


@cache
def _common() -> frozenset[str]:
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("# "))


def hash_password(password: str) -> str:
    with _places:
        return hasher.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one that was hashed; without a hash, say no after the same work."""
    known = password_hash if password_hash != NO_PASSWORD else None
    with _places:
        try:
            hasher.verify(known or nobodys_hash(), password)
        except (VerificationError, InvalidHashError):
            return False
    return known is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return hasher.check_needs_rehash(password_hash)


def nobodys_hash() -> str:
    """Return a hash that no password matches, put together so that to verify it is as much work as any other."""
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
