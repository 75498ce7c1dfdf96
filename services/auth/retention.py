"""Delete rows whose retention period is over.

Ended sessions with their refresh tokens are kept for a day, sign-in sources for 30 days, security events for a year,
mail tokens until they expire. A background task deletes them: a request would lock rows of other users.
"""

from datetime import timedelta
from typing import Any

import peewee

from services.auth.account_mail import ONE_A_MINUTE
from services.auth.cookies import DEVICE_LIFETIME
from services.auth.models import AuditEvent, LinkRequest, MailToken, Session
from services.auth.signin_models import SigninSource
from shared import clock
from shared.database.locking import delete_unlocked

SESSIONS_KEPT = timedelta(days=1)  # after their end, so that a late refresh gets TOKEN_REVOKED or TOKEN_EXPIRED
EVENTS_KEPT = timedelta(days=365)
BATCH = 500  # rows of one transaction, since other writers wait for it


def prune() -> None:
    """Delete in small transactions until nothing is left to delete."""
    now = clock.now()
    ended = now - SESSIONS_KEPT
    _delete(Session, (Session.revoked_at < ended) | (Session.expires_at < ended))
    _delete(MailToken, MailToken.expires_at <= now)
    _delete(LinkRequest, ~LinkRequest.pending & (LinkRequest.requested_at < now - ONE_A_MINUTE))
    _delete(SigninSource, SigninSource.last_used_at <= now - DEVICE_LIFETIME)
    _delete(AuditEvent, AuditEvent.created_at < now - EVENTS_KEPT)


def _delete(model: type[peewee.Model], condition: Any) -> None:
    while delete_unlocked(model, condition, BATCH):
        pass
