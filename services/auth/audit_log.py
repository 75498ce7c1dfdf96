"""Write the audit log: who did what to whose account, when and from which address."""

from typing import Any

import orjson
from flask import g, has_request_context, request

from services.auth.models import AuditEvent, AuditKind
from shared.client_address import client_address


def audit(kind: AuditKind, user_id: str | None, **detail: Any) -> None:
    """Write an audit event about a user; call it inside the transaction of the change.

    The actor is the authenticated user of the request, None for a login or a command.
    """
    if has_request_context():
        address, request_id = client_address(request.environ), request.environ.get("postern.request_id", "")
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
    """Return the id of the authenticated user of the request, None for an anonymous client or a command."""
    caller = g.get("postern_claims") if has_request_context() else None
    return str(caller.user_id) if caller else None
