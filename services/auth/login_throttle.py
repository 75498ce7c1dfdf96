"""Throttle failed logins of an account and refreshes of a session, each by a sliding window in the database.

After five failed logins in five minutes the account answers 429. Addresses and browsers from which it has signed in
count their own failures (`signin_sources.py`), so that strangers cannot lock the owner out.

Example: strangers fail at 12:00:00, :10, :20, :30 and :40. They get 429 until 12:05:00, when the first failure leaves
the window. The owner's browser, known by its `device` cookie, has no failures and signs in at 12:01.
"""

import hashlib
import math
from datetime import datetime, timedelta

from flask import current_app

from services.auth.models import RefreshToken, User, database
from services.auth.signin_models import FailedLogin
from shared import clock
from shared.database.connection import is_postgres
from shared.problems import Problem

MAX_FAILURES = 5
WINDOW = timedelta(minutes=5)
MAX_REFRESHES = 10
REFRESH_WINDOW = timedelta(minutes=1)


def check(account: str, source: str = "") -> None:
    """Raise RATE_LIMITED after too many failures from the `source`; cheap, so call it before hashing.

    All unknown sources share the source "". An unknown account is throttled like a known one.
    """
    if not current_app.config["COUNT_FAILURES"]:
        return
    now = clock.now()
    times = FailedLogin.times(_key(account), source, now - WINDOW)
    if len(times) >= MAX_FAILURES:
        raise _refusal("Too many failed attempts for this account.", times[-MAX_FAILURES] + WINDOW, now)


def recheck(account: str, source: str = "") -> None:
    """Check again after the password was hashed, one request of the account at a time. Call it inside a transaction.

    Of any number of concurrent guesses only the first five get the result of the password check.
    """
    if is_postgres(database):  # SQLite has a single writer
        number = int.from_bytes(bytes.fromhex(_key(account))[:8], "big", signed=True)
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (number,))
    check(account, source)


def record_failure(account: str, source: str = "") -> None:
    """Count a failure; raise RATE_LIMITED if concurrent failures reached the limit. Call it inside a transaction."""
    recheck(account, source)
    now = clock.now()
    FailedLogin.forget_before(now - WINDOW)
    FailedLogin.create(account=_key(account), source=source, created_at=now)


def clear_source(account: str, source: str = "") -> None:
    """Delete the failures of a source; raise RATE_LIMITED if they reached the limit. Call it inside a transaction."""
    recheck(account, source)
    FailedLogin.delete().where(FailedLogin.account == _key(account), FailedLogin.source == source).execute()


def clear_account(user: User) -> None:
    """Delete all failures of a user, whose password has changed. Call it inside a transaction."""
    FailedLogin.delete().where(FailedLogin.account.in_([_key(user.email_folded), _key(user.id)])).execute()


def check_refreshes(session_id: str, now: datetime) -> None:
    """Raise RATE_LIMITED when this refresh exceeds the limit of its session. Call it inside a transaction."""
    times = RefreshToken.replacements(session_id, now - REFRESH_WINDOW)
    if current_app.config["COUNT_FAILURES"] and len(times) > MAX_REFRESHES:
        raise _refusal("This session is refreshed too often.", times[-MAX_REFRESHES - 1] + REFRESH_WINDOW, now)


def _key(account: str) -> str:
    """Return the SHA-256 that is stored for an account: users mistype passwords into the address field."""
    return hashlib.sha256(account.encode()).hexdigest()


def _refusal(detail: str, until: datetime, now: datetime) -> Problem:
    return Problem("RATE_LIMITED", detail, retryAfter=max(math.ceil((until - now).total_seconds()), 1))
