"""Administration: list accounts, change role and status, read the audit log."""

from typing import Any

from flask import Response

from services.auth.models import AuditEvent
from services.auth.resources.users import change_account
from services.auth.schemas import (
    AccountChangeSchema,
    AdminUserSchema,
    AuditEventSchema,
    AuditQuerySchema,
    UserQuerySchema,
)
from services.auth.user_list import list_users
from shared.database.pagination import Order, paginate
from shared.web.auth import signed_in
from shared.web.blueprint import Blueprint
from shared.web.responses import respond

blp = Blueprint("admin", __name__, url_prefix="/api/admin", description="Accounts and security events, for admins")
NEWEST = Order("newest", (AuditEvent.created_at, AuditEvent.id))


@blp.route("/users", methods=["GET"])
@signed_in("admin")
@blp.arguments(UserQuerySchema, location="query")
@blp.response(200, AdminUserSchema(many=True))
def users(args: dict[str, Any]) -> Response:
    """List accounts by part of the name or address, status and role."""
    return respond(list_users(args))


@blp.route("/users/<user_id>", methods=["PATCH"])
@blp.problems("CONFLICT")
@signed_in("admin")
@blp.arguments(AccountChangeSchema)
@blp.response(200, AdminUserSchema)
def update(changes: dict[str, Any], user_id: str) -> Response:
    """Change role or status: access tokens end everywhere, a suspension ends the sessions too."""
    return change_account(user_id, changes)


@blp.route("/audit", methods=["GET"])
@signed_in("admin")
@blp.arguments(AuditQuerySchema, location="query")
@blp.response(200, AuditEventSchema(many=True))
def audit(args: dict[str, Any]) -> Response:
    """List security events, the newest first."""
    query: Any = AuditEvent.select()
    kind, user_id = args.get("kind"), args.get("user")
    if kind:
        query = query.where(AuditEvent.kind == kind)
    if user_id:
        query = query.where(AuditEvent.user_id == user_id)
    total = None if kind or user_id else AuditEvent.select().count
    return respond(AuditEventSchema(many=True).dump(paginate(query, NEWEST, args, total)))
