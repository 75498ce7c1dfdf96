"""Slow down who guesses passwords: five failures of an account in five minutes, from wherever they come."""

import hashlib
import math
from datetime import datetime, timedelta

from flask import current_app

from services.auth.models import FailedLogin, database
from shared import clock
from shared.db import is_postgres
from shared.problems import Problem

MAX_FAILURES = 5
WINDOW = timedelta(minutes=5)


def check(account: str) -> None:
    """Raise RATE_LIMITED when the account, known or not, has failed too often; cheap, to be asked before hashing."""
    if not current_app.config["COUNT_FAILURES"]:
        return
    now = clock.now()
    times = FailedLogin.times(_key(account), now - WINDOW)
    if len(times) >= MAX_FAILURES:
        raise _refusal(times[-MAX_FAILURES], now)


def judge(account: str) -> None:
    """Check once more after hashing, as one of several that come one after the other; call it inside a transaction.

    However many guesses run at once, only the first five learn whether they were right.
    """
    if is_postgres(database):  # SQLite lets in one writer at a time anyway
        number = int.from_bytes(bytes.fromhex(_key(account))[:8], "big", signed=True)
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (number,))
    check(account)


def fail(account: str) -> None:
    """Count a failure; raise RATE_LIMITED when others failed often enough meanwhile. Call it inside a transaction."""
    judge(account)
    now = clock.now()
    FailedLogin.forget_before(now - WINDOW)
    FailedLogin.create(account=_key(account), created_at=now)


def succeed(account: str) -> None:
    """Forget the failures; raise RATE_LIMITED when there were too many meanwhile. Call it inside a transaction."""
    judge(account)
    FailedLogin.delete().where(FailedLogin.account == _key(account)).execute()


def _key(account: str) -> str:
    """Return what stands for an account: people type other secrets where the address should be."""
    return hashlib.sha256(account.encode()).hexdigest()


def _refusal(fifth_last: datetime, now: datetime) -> Problem:
    wait = math.ceil((fifth_last + WINDOW - now).total_seconds())
    return Problem("RATE_LIMITED", "Too many failed attempts for this account.", retryAfter=max(wait, 1))
