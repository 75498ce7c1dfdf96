"""Hash passwords with argon2id at the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

import os
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A hash takes a core for 15 ms: more at once than there are cores would only make everybody wait longer.
_places = threading.BoundedSemaphore(os.cpu_count() or 1)


def hash_password(password: str) -> str:
    with _places:
        return hasher.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one that was hashed; without a hash, say no after the same work."""
    with _places:
        try:
            hasher.verify(password_hash or nobodys_hash(), password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return hasher.check_needs_rehash(password_hash)


@cache
def nobodys_hash() -> str:
    """Return a hash that no password matches; made before the first login, whose time would tell otherwise."""
    return hasher.hash(os.urandom(16).hex())
