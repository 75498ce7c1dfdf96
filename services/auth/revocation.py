"""Revoke access tokens in this process at once; other processes and services apply the fact of the feed."""

from collections.abc import Iterable
from datetime import datetime

from shared.identity.access_tokens import Verifier
from shared.service import current_service


def end_sessions_here(session_ids: Iterable[str], now: datetime) -> None:
    """Revoke the access tokens of these sessions; call it after the commit."""
    verifier: Verifier = current_service().get(Verifier)
    for session_id in session_ids:
        verifier.revocations.end_session(session_id, now.timestamp())


def end_tokens_here(user_id: str, now: datetime) -> None:
    """Revoke the user's access tokens that were issued before `now`; call it after the commit."""
    verifier: Verifier = current_service().get(Verifier)
    verifier.revocations.end_tokens_before(user_id, now.timestamp(), now.timestamp())
