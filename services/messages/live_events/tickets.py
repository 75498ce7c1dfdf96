"""One-time tickets for a live stream, since EventSource in browsers sends no Authorization header."""

import hashlib
import secrets
from datetime import timedelta

from services.messages.models import EventTicket, database
from shared import clock
from shared.database.locking import delete_unlocked
from shared.identity.claims import Claims
from shared.problems import Problem

LIFETIME = timedelta(seconds=60)


def issue(claims: Claims) -> str:
    """Return a ticket that opens one stream of this user; the stream ends with the access token."""
    ticket, now = secrets.token_urlsafe(32), clock.now()
    with database.atomic():
        delete_unlocked(EventTicket, EventTicket.expires_at <= now)
        EventTicket.create(
            digest=_digest(ticket),
            user_id=claims.user_id,
            session_id=claims.session_id,
            issued_at=claims.issued_at,
            token_expires_at=claims.expires_at,
            expires_at=now + LIFETIME,
        )
    return ticket


def redeem(ticket: str) -> Claims:
    """Consume a ticket and return its claims; raise UNAUTHORIZED if it is unknown, used or expired."""
    mine = (EventTicket.digest == _digest(ticket), EventTicket.expires_at > clock.now())
    used = list(EventTicket.delete().where(*mine).returning(EventTicket).execute())
    if not used:
        raise Problem("UNAUTHORIZED", "The ticket is unknown, was used, or is older than a minute.")
    row = used[0]
    return Claims(row.user_id, "", "", "user", row.session_id, "", row.issued_at, row.token_expires_at)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
