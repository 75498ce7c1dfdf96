"""Hash passwords with argon2id at the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

import os
import threading
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.problems import Problem

COMMON = Path(__file__).parent / "common_passwords.txt"

hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A hash takes a core for 15 ms: more at once than there are cores would only make everybody wait longer.
_places = threading.BoundedSemaphore(os.cpu_count() or 1)


def check_new(password: str, name: str, email: str) -> None:
    """Raise VALIDATION_ERROR for one of the commonest passwords, or one that the account itself gives away."""
    folded = password.casefold()
    own = {text.casefold() for text in (name, email, email.rpartition("@")[0])}
    if folded.strip() in own:
        raise _refusal("Must not be the name or the address of the account.")
    if folded in _common():
        raise _refusal("Is one of the commonest passwords, which are tried first.")


def _refusal(message: str) -> Problem:
    return Problem("VALIDATION_ERROR", errors={"password": [message]})


@cache
def _common() -> frozenset[str]:
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("# "))


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
