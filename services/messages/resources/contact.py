"""Contact messages: anybody writes them, moderators read them."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from flask import Response, make_response, request

from services.messages import contact
from services.messages.config import Config
from services.messages.models import NEWEST_MESSAGE, ContactMessage, database, idempotency
from services.messages.schemas import (
    ContactChangeSchema,
    ContactListSchema,
    ContactMessageSchema,
    ContactQuerySchema,
    ContactSchema,
    ReceiptSchema,
    contact_item,
)
from shared.database.connection import get_or_404
from shared.database.locking import locking
from shared.database.pagination import paginate
from shared.ids import id_or_404
from shared.service import current_service
from shared.web.auth import signed_in
from shared.web.blueprint import Blueprint
from shared.web.etag import require_match, tagged
from shared.web.responses import respond

blp = Blueprint("contact", __name__, url_prefix="/api", description="Messages to the owner")


def processed(view: Callable[..., Any]) -> Callable[..., Any]:
    """Add the header and cookie that confirm a message, also to a replay of its idempotency key."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = make_response(view(*args, **kwargs))
        response.headers["X-Contact-Processed"] = "true"
        response.set_cookie("contact-sent", "true", path="/", httponly=True)
        return response

    return wrapper


@blp.route("/contact", methods=["POST"])
@blp.problems("CONFLICT", "IDEMPOTENCY_KEY_REUSED")
@blp.arguments(ContactQuerySchema, location="query")
@blp.arguments(ContactSchema, location="json_or_form")
@processed
@partial(idempotency.accepts_key, anybody=True)
@blp.response(201, ReceiptSchema)
def create(args: dict[str, Any], data: dict[str, Any]) -> Response:
    """Send a message to the owner of this installation."""
    owner = current_service().get(Config).contact_to
    message_id = contact.submit(data, args.get("source"), request.headers.get("User-Agent", ""), owner)
    return respond({"id": message_id}, 201)


@blp.route("/admin/contact", methods=["GET"])
@signed_in("moderator")
@blp.arguments(ContactListSchema, location="query")
@blp.response(200, ContactMessageSchema(many=True))
def index(args: dict[str, Any]) -> Response:
    """List the messages to the owner, newest first."""
    status = args.get("status")
    total = None if status else ContactMessage.select().count
    rows = paginate(ContactMessage.with_status(status), NEWEST_MESSAGE, args, total)
    return respond([contact_item(row) for row in rows])


@blp.route("/admin/contact/<message_id>", methods=["PATCH"])
@signed_in("moderator")
@blp.arguments(ContactChangeSchema)
@blp.response(200, ContactMessageSchema)
def update(changes: dict[str, Any], message_id: str) -> Response:
    """Change the status of a message."""
    with database.atomic():
        message = get_or_404(locking(ContactMessage.select()), ContactMessage.id == id_or_404(message_id))
        require_match(message.version, {"status": message.status}, changes, lambda: contact_item(message))
        contact.set_status(message, changes["status"])
    return tagged(message.version, contact_item(message))
