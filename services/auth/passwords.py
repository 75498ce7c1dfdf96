"""Hash passwords with argon2id at the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

import os
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.auth.models import NO_PASSWORD

hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A hash takes a core for 15 ms: more at once than there are cores would only make everybody wait longer.
_places = threading.BoundedSemaphore(os.cpu_count() or 1)


def hash_password(password: str) -> str:
    with _places:
        return hasher.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one that was hashed; without a hash, say no after the same work."""
    known = password_hash if password_hash != NO_PASSWORD else None
    with _places:
        try:
            hasher.verify(known or _nobodys_hash(), password)
        except (VerificationError, InvalidHashError):
            return False
    return known is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return hasher.check_needs_rehash(password_hash)


@cache
def _nobodys_hash() -> str:
    return hasher.hash(os.urandom(16).hex())
