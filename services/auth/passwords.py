"""Hash passwords with argon2id at the parameters that OWASP recommends: 19 MiB, two passes, one lane."""

import os
import secrets
import threading
import unicodedata
from base64 import b64encode
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.auth.models import NO_PASSWORD
from shared.concurrency import Bulkhead
from shared.problems import Problem
from shared.server.os_tuning import return_freed_memory

COMMON = Path(__file__).parent / "common_passwords.txt"
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

PLACES_OF_ADDRESS = 2
PATIENCE = 7.0  # seconds that a request waits for a slot; the gateway times out after 10
KEEP_MEMORY = 5.0  # seconds after a hash: the next hash reuses the pages without page faults


def hashing_places(threads: int) -> Bulkhead:
    """Return the bulkhead of password hashing: one slot for each core, at most half of the worker threads.

    A hash takes 15 ms of CPU, so more slots than cores would only make every request slower.
    """
    places = max(min(os.cpu_count() or 1, threads // 2), 1)
    detail = "Too many sign in at once."
    return Bulkhead(places, per_client=PLACES_OF_ADDRESS, patience=PATIENCE, detail=detail)


class FreedMemory:
    """Return freed heap memory to the operating system `KEEP_MEMORY` seconds after a hash."""

    def __init__(self) -> None:
        self._waiting = threading.Lock()

    def return_later(self) -> None:
        if self._waiting.acquire(blocking=False):
            timer = threading.Timer(KEEP_MEMORY, self._return)
            timer.daemon = True
            timer.start()

    def _return(self) -> None:
        return_freed_memory()
        self._waiting.release()


_memory = FreedMemory()


def check_new(password: str, name: str, email: str, field: str = "password") -> None:
    """Raise VALIDATION_ERROR for a common password, the name, the address or its local part."""
    folded = normal(password).casefold()
    own = {normal(text).casefold() for text in (name, email, email.rpartition("@")[0])}
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


def normal(password: str) -> str:
    """Normalize a password to NFC (RFC 8265, section 4.2), so that all keyboards type the same one."""
    return unicodedata.normalize("NFC", password)


def hash_password(password: str) -> str:
    _memory.return_later()
    return hasher.hash(normal(password))


def matches(password_hash: str | None, password: str) -> bool:
    """Verify a password. Without a hash verify a dummy hash, so that an unknown address takes the same time.

    Version 0.1 hashed passwords without normalization, so the password as typed is verified too.
    """
    known = password_hash if password_hash != NO_PASSWORD else None
    forms = dict.fromkeys((normal(password), password))
    return any(_verify(known or dummy_hash(), form) for form in forms) and known is not None


def _verify(password_hash: str, password: str) -> bool:
    _memory.return_later()
    try:
        return hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(password_hash: str, password: str) -> bool:
    """Return whether the hash has outdated argon2 parameters or is of a password that was not normalized."""
    if hasher.check_needs_rehash(password_hash):
        return True
    return password != normal(password) and not _verify(password_hash, normal(password))


def dummy_hash() -> str:
    """Return an argon2id hash with random salt and digest and the current cost parameters; no password matches it."""
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
