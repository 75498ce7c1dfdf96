"""Note security events: who did what to whose account, when and from where."""

from ipaddress import ip_address
from typing import Any

import orjson
from flask import g, has_request_context, request

from services.auth.models import AuditEvent


def audit(kind: str, user_id: str | None, **detail: Any) -> None:
    """Note an event about a user; call it inside the transaction of what happened.

    The actor is whoever is signed in to the request: nobody for a login, or for a command.
    """
    if has_request_context():
        address, request_id = client_address(), request.environ.get("postern.request_id", "")
    else:
        address, request_id = "", ""
    AuditEvent.create(
        kind=kind,
        user_id=user_id,
        actor_id=actor_id(),
        address=address,
        request_id=request_id,
        detail=orjson.dumps(detail).decode(),
    )


def actor_id() -> str | None:
    """Return whoever is signed in to the request, None for a stranger and for a command."""
    caller = g.get("postern_claims") if has_request_context() else None
    return str(caller.user_id) if caller else None


def client_address() -> str:
    """Return where the request came from.

    The gateway puts the address that it has verified into X-Forwarded-For; from a peer that is neither on this
    machine nor in a private network the header says nothing.
    """
    peer = request.remote_addr or ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded if _is_near(peer) and _is_address(forwarded) else peer[:64]


def _is_near(peer: str) -> bool:
    return _is_address(peer) and ip_address(peer).is_private


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return len(text) <= 64
