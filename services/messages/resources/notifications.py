"""Notifications of the signed-in user."""

from typing import Any

from flask import Response

from services.messages.live_events import event_log
from services.messages.models import NEWEST_NOTIFICATION, Notification, database
from services.messages.schemas import (
    NotificationChangeSchema,
    NotificationSchema,
    notification_item,
)
from shared.database.connection import get_or_404
from shared.database.locking import locking
from shared.database.pagination import PageQuerySchema, paginate
from shared.ids import id_or_404
from shared.web.auth import require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.responses import no_content, respond

blp = Blueprint(
    "notifications", __name__, url_prefix="/api/notifications", description="Notifications of the signed-in user"
)


@blp.route("", methods=["GET"])
@signed_in()
@blp.arguments(PageQuerySchema, location="query")
@blp.response(200, NotificationSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the user's notifications, newest first, with the number of unread ones."""
    user_id = require_user().user_id
    total, unread = Notification.count(user_id)
    rows = paginate(Notification.of(user_id), NEWEST_NOTIFICATION, args, lambda: total)
    return respond([notification_item(row) for row in rows], unread=unread)


@blp.route("/<notification_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(NotificationChangeSchema)
@blp.response(200, NotificationSchema)
def update(changes: dict[str, Any], notification_id: str) -> Response:
    """Mark a notification as read or unread."""
    mine = (Notification.id == id_or_404(notification_id), Notification.user_id == require_user().user_id)
    with database.atomic():
        locked = get_or_404(locking(Notification.select()), *mine)
        require_match(locked.version, {"read": locked.read}, changes)
        if locked.read != changes["read"]:
            Notification.update(read=changes["read"], version=Notification.version + 1).where(*mine).execute()
        row = get_or_404(Notification.of(locked.user_id), Notification.id == notification_id)
    return tagged(row.version, notification_item(row))


@blp.route("/read-all", methods=["POST"])
@signed_in()
@blp.response(204)
def read_all() -> Response:
    """Mark all notifications as read."""
    mine = (Notification.user_id == require_user().user_id) & ~Notification.read
    with database.atomic():
        event_log.lock()
        Notification.update(read=True, version=Notification.version + 1).where(mine).execute()
    return no_content()
