"""Sessions: opened by a login, continued by refresh tokens, ended by a logout or by theft."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import NamedTuple

from services.auth.models import RefreshToken, Session, User, database
from shared import clock
from shared.problems import Problem
from shared.tokens import LIFETIME, Revocations

TOKEN_BYTES = 32
GRACE = timedelta(seconds=10)  # for two tabs that refresh at once, or an answer that got lost
TOKEN_LIFETIME = {True: timedelta(days=7), False: timedelta(days=1)}  # with rememberMe, without
SESSION_LIFETIME = {True: timedelta(days=30), False: timedelta(days=7)}


class Signin(NamedTuple):
    """A session of a user, and the refresh token that continues it."""

    user: User
    session_id: str
    refresh_token: str


def open_session(user: User, remember: bool, user_agent: str, address: str) -> Signin:
    """Begin a session; call it inside a transaction."""
    now = clock.now()
    session = Session.create(
        user=user,
        remember=remember,
        user_agent=user_agent[:200],
        address=address[:64],
        created_at=now,
        last_used_at=now,
        expires_at=now + SESSION_LIFETIME[remember],
    )
    return Signin(user, session.id, _encode(_new_token(session, now)))


def continue_session(refresh_token: str) -> Signin:
    """Replace a refresh token; raise UNAUTHORIZED, TOKEN_EXPIRED, TOKEN_REVOKED or ACCOUNT_SUSPENDED.

    A token that was replaced within `GRACE` gives its successor again. One that was replaced earlier has been
    stolen, from its owner or by them: the session ends.
    """
    token = _decode(refresh_token)
    now = clock.now()
    with database.atomic():
        row = _usable(token, now)
        successor = _replace(row, token, now) or _known_successor(row, token, now)
        if successor is None:
            Session.end(row.session_id, now)
        elif not Session.note_use(row.session_id, now):  # a logout was faster
            raise Problem("TOKEN_REVOKED")
    if successor is None:
        raise Problem("TOKEN_REVOKED", "This refresh token was used before; the session has been ended.")
    user = User.with_profile().where(User.id == row.session.user_id).get()
    return Signin(user, row.session_id, _encode(successor))


def restore_revocations(revocations: Revocations) -> None:
    """Refuse from the first request on what ended before a restart; the feed tells it moments later."""
    now = clock.now()
    for session_id in Session.ended_since(now - timedelta(seconds=LIFETIME)):
        revocations.end_session(session_id, now.timestamp())


def session_of(refresh_token: str) -> str:
    """Return the session that a refresh token continues; raise UNAUTHORIZED for one that nobody has."""
    row = RefreshToken.get_or_none(RefreshToken.hash == _hash(_decode(refresh_token)))
    if row is None:
        raise Problem("UNAUTHORIZED", "The refresh token is not valid.")
    return str(row.session_id)


def _usable(token: bytes, now: datetime) -> RefreshToken:
    query = RefreshToken.select(RefreshToken, Session, User).join(Session).join(User)
    row: RefreshToken | None = query.where(RefreshToken.hash == _hash(token)).first()
    if row is None:
        raise Problem("UNAUTHORIZED", "The refresh token is not valid.")
    if row.session.revoked_at:
        raise Problem("TOKEN_REVOKED")
    if min(row.expires_at, row.session.expires_at) <= now:
        raise Problem("TOKEN_EXPIRED", "The refresh token has expired; sign in again.")
    if row.session.user.status == "suspended":
        raise Problem("ACCOUNT_SUSPENDED")
    return row


def _replace(row: RefreshToken, token: bytes, now: datetime) -> bytes | None:
    """Make the successor, unless somebody else has: the database decides between racing requests."""
    successor = secrets.token_bytes(TOKEN_BYTES)
    unused = (RefreshToken.hash == row.hash) & RefreshToken.replaced_at.is_null()
    replaced = {"replaced_at": now, "successor": _seal(successor, token)}
    if not RefreshToken.update(replaced).where(unused).execute():
        return None
    return _new_token(row.session, now, successor)


def _known_successor(row: RefreshToken, token: bytes, now: datetime) -> bytes | None:
    current: RefreshToken = RefreshToken.get(RefreshToken.hash == row.hash)
    if now - current.replaced_at > GRACE:
        return None
    return _seal(bytes(current.successor or b""), token)


def _new_token(session: Session, now: datetime, token: bytes | None = None) -> bytes:
    token = token or secrets.token_bytes(TOKEN_BYTES)
    expires_at = min(now + TOKEN_LIFETIME[session.remember], session.expires_at)
    RefreshToken.create(hash=_hash(token), session=session, expires_at=expires_at)
    return token


def _seal(successor: bytes, token: bytes) -> bytes:
    """Seal and open: the pad is a random function of a token that seals one successor only."""
    pad = hmac.digest(token, b"successor", "sha256")
    return bytes(a ^ b for a, b in zip(successor, pad, strict=True))


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _encode(token: bytes) -> str:
    return urlsafe_b64encode(token).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Return the token's bytes; what is none of ours is a token that nobody has."""
    try:
        token = urlsafe_b64decode(f"{text}=")
    except ValueError:
        token = b""
    if len(token) != TOKEN_BYTES or _encode(token) != text:
        raise Problem("UNAUTHORIZED", "The refresh token is not valid.")
    return token
