"""Sessions and their refresh tokens: rotation, a grace period, reuse detection (RFC 9700, section 4.14.2).

Example: two tabs of a browser send refresh token 1 at 12:00:00. The first request rotates it to token 2; the second
request gets token 2 too, since it arrives within `GRACE`. At 12:10:00 token 2 is rotated to token 3. A request with
token 1 now, or with token 2 after 12:10:30, is reuse of a stolen copy: the session is revoked, its owner gets a mail.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import NamedTuple

from services.auth import account_mail, accounts, login_throttle
from services.auth.audit_log import audit
from services.auth.models import SESSION_LIFETIME, SUSPENDED, TOKEN_LIFETIME, RefreshToken, Session, User, database
from shared import clock
from shared.identity.claims import REMEMBERED
from shared.identity.revocations import Revocations
from shared.problems import Problem

TOKEN_BYTES = 32
GRACE = timedelta(seconds=30)  # for two tabs that refresh at once, a lost response, or a slow server


class Signin(NamedTuple):
    """A session, its user as of `issued_at`, and the current refresh token."""

    user: User
    session: Session
    refresh_token: str
    issued_at: datetime


def open_session(user: User, remember: bool, cookie_only: bool, user_agent: str, address: str) -> Signin:
    """Create a session with its first refresh token; call it inside a transaction."""
    now = clock.now()
    session = Session.create(
        user=user,
        remember=remember,
        cookie_only=cookie_only,
        user_agent=user_agent[:200],
        address=address[:64],
        created_at=now,
        last_used_at=now,
        expires_at=now + SESSION_LIFETIME[remember],
    )
    return Signin(user, session, _encode(_new_token(session, now)), now)


def continue_session(refresh_token: str) -> Signin:
    """Rotate a refresh token; raise UNAUTHORIZED, TOKEN_EXPIRED, TOKEN_REVOKED, ACCOUNT_SUSPENDED or RATE_LIMITED.

    Within `GRACE` after its rotation the previous token returns the same successor. Later, or once the successor was
    rotated too, it counts as reuse: the session is revoked.

    The time of arrival counts, not the time at which the request gets the row lock, so a retry that waited for the lock
    is no reuse.
    """
    token = _decode(refresh_token)
    shown_at = clock.now()
    with database.atomic():
        row = _usable(token, shown_at)
        user = _locked(row.session)
        now = clock.now()
        successor = _replace(row, token, now) or _known_successor(row, token, shown_at)
        if successor is None:
            if Session.end(row.session_id, now):
                audit("refresh_reused", user.id, session=row.session_id)
                account_mail.refresh_token_reused(user)
        elif not Session.note_use(row.session_id, now):  # a concurrent logout
            raise Problem("TOKEN_REVOKED")
    if successor is None:
        raise Problem("TOKEN_REVOKED", "This refresh token was used before; the session has been ended.")
    return Signin(user, row.session, _encode(successor), now)


def restore_revocations(revocations: Revocations) -> None:
    """Load recent revocations from the database, since the feed consumer applies them only after the start."""
    now = clock.now()
    for session_id in Session.ended_since(now - timedelta(seconds=REMEMBERED)):
        revocations.end_session(session_id, now.timestamp())


def session_of(refresh_token: str) -> str:
    """Return the session of a refresh token; raise UNAUTHORIZED for an unknown token."""
    return _row(_decode(refresh_token)).session_id


def running_session(refresh_token: str) -> Session:
    """Return the active session of a refresh token; raise the same problems as `continue_session`."""
    session: Session = _usable(_decode(refresh_token), clock.now()).session
    return session


def _row(token: bytes) -> RefreshToken:
    query = RefreshToken.select(RefreshToken, Session).join(Session)
    row: RefreshToken | None = query.where(RefreshToken.hash == _hash(token)).first()
    if row is None:
        raise Problem("UNAUTHORIZED", "The refresh token is not valid.")
    return row


def _usable(token: bytes, now: datetime) -> RefreshToken:
    row = _row(token)
    if row.session.revoked_at:
        raise Problem("TOKEN_REVOKED")
    if min(row.expires_at, row.session.expires_at) <= now:
        raise Problem("TOKEN_EXPIRED", "The refresh token has expired; sign in again.")
    return row


def _locked(session: Session) -> User:
    """Lock the user row, so that a suspension happens before or after this refresh, never in between.

    The user is locked before the session, in the lock order of `models.py`, which prevents deadlocks.
    """
    try:
        user = accounts.by_id(session.user_id, lock=True)
    except Problem as error:  # a concurrent deletion
        raise Problem("TOKEN_REVOKED") from error
    if user.status == SUSPENDED:
        raise Problem("ACCOUNT_SUSPENDED")
    if Session.select().where(Session.id == session.id, Session.revoked_at.is_null(False)).exists():
        raise Problem("TOKEN_REVOKED")
    return user


def _replace(row: RefreshToken, token: bytes, now: datetime) -> bytes | None:
    """Store the successor; of concurrent requests only one updates the row (compare and swap)."""
    successor = secrets.token_bytes(TOKEN_BYTES)
    unused = (RefreshToken.hash == row.hash) & RefreshToken.replaced_at.is_null()
    replaced = {"replaced_at": now, "successor": _xor_with_pad(successor, token)}
    if not RefreshToken.update(replaced).where(unused).execute():
        return None
    login_throttle.check_refreshes(row.session_id, now)
    return _new_token(row.session, now, successor)


def _known_successor(row: RefreshToken, token: bytes, shown_at: datetime) -> bytes | None:
    current: RefreshToken = RefreshToken.get(RefreshToken.hash == row.hash)
    successor = _xor_with_pad(bytes(current.successor or b""), token)
    was_replaced = RefreshToken.get(RefreshToken.hash == _hash(successor)).replaced_at
    return None if was_replaced or shown_at - current.replaced_at > GRACE else successor


def _new_token(session: Session, now: datetime, token: bytes | None = None) -> bytes:
    token = token or secrets.token_bytes(TOKEN_BYTES)
    expires_at = min(now + TOKEN_LIFETIME[session.remember], session.expires_at)
    RefreshToken.create(hash=_hash(token), session=session, expires_at=expires_at)
    return token


def _xor_with_pad(successor: bytes, token: bytes) -> bytes:
    """Encrypt or decrypt a successor with a one-time pad: the HMAC of the token that it replaces."""
    pad = hmac.digest(token, b"successor", "sha256")
    return bytes(a ^ b for a, b in zip(successor, pad, strict=True))


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _encode(token: bytes) -> str:
    return urlsafe_b64encode(token).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Return the bytes of a token; a malformed token becomes one that is not in the table."""
    try:
        token = urlsafe_b64decode(f"{text}=")
    except ValueError:
        token = b""
    if len(token) != TOKEN_BYTES or _encode(token) != text:
        raise Problem("UNAUTHORIZED", "The refresh token is not valid.")
    return token
