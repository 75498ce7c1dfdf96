"""The active sessions of the authenticated user."""

from typing import Any

from flask import Response

from services.auth import cookies
from services.auth.audit_log import audit
from services.auth.models import Session, User, database
from services.auth.resources.signin import own_session
from services.auth.revocation import end_sessions_here
from services.auth.schemas import SessionSchema
from shared import clock
from shared.database.connection import get_or_404
from shared.database.pagination import Order, PageQuerySchema, paginate
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.responses import no_content, respond
from shared.web.schema import EmptySchema

blp = Blueprint("sessions", __name__, url_prefix="/api/auth", description="Where one is signed in")
NEWEST = Order("newest", (Session.created_at, Session.id))


@blp.route("/sessions", methods=["GET"])
@signed_in()
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, SessionSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the own active sessions, the newest first."""
    caller = require_user()
    rows = paginate(Session.running(caller.user_id, clock.now()), NEWEST, args)
    items: list[dict[str, Any]] = SessionSchema(many=True).dump(rows)
    return respond([item | {"current": item["id"] == caller.session_id} for item in items])


@blp.route("/sessions/<session_id>", methods=["DELETE"])
@signed_in()
@blp.response(204)
def end(session_id: str) -> Response:
    """End one of the own sessions; other services apply it within two seconds."""
    caller, now = require_user(), clock.now()
    with database.atomic():
        session: Session = get_or_404(Session.running(caller.user_id, now), Session.id == session_id)
        if Session.end(session.id, now):
            audit("session_revoked", caller.user_id, session=session.id)
    end_sessions_here([session.id], now)
    return no_content()


@blp.route("/logout-all", methods=["POST"])
@blp.problems("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED")
@blp.doc(security=[{"bearer": []}])
@blp.arguments(EmptySchema, location="json_or_form")
@blp.response(204)
def end_all(_data: dict[str, Any]) -> Response:
    """End all own sessions, this one too, and clear the cookies; a valid refresh cookie is enough."""
    (user_id, session_id), now = own_session(), clock.now()
    with database.atomic():
        User.lock(user_id)
        ended = Session.end_all(user_id, now)
        audit("logout_all", user_id, sessions=len(ended))
    end_sessions_here([*ended, session_id], now)
    return cookies.forget(no_content())
