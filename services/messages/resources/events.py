"""Live events as Server-Sent Events, and tickets for them."""

import re
from typing import Any

from flask import Response, request

from services.messages.live_events import event_log, tickets
from services.messages.live_events.public_events import CONNECTED, NOTIFICATION, RESYNC, TOPICS
from services.messages.live_events.socket_handover import KEY
from services.messages.live_events.sse_server import PER_ADDRESS, PER_USER, SseServer, Stream, stream_start
from services.messages.schemas import EventSchema, EventsQuerySchema, TicketSchema
from shared.client_address import client_address, limiter_key
from shared.identity.access_tokens import Verifier
from shared.identity.claims import Claims
from shared.problems import Problem
from shared.service import current_service
from shared.web.auth import current_user, require_user, signed_in
from shared.web.blueprint import Blueprint
from shared.web.responses import respond

blp = Blueprint("events", __name__, url_prefix="/api/events", description="Live events")
STREAM = {
    "description": "Events as they happen; the schema is that of the `data` of each",
    "content": {"text/event-stream": {"schema": EventSchema}},
    "x-events": [CONNECTED, RESYNC, *TOPICS, NOTIFICATION],
}
# A proxy that compresses (RFC 9110, section 7.7) or buffers would hold events back.
UNBUFFERED = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_event_id = re.compile(r"[0-9]{1,18}", re.ASCII).fullmatch


@blp.route("", methods=["GET"])
@blp.arguments(EventsQuerySchema, location="query")
@blp.response(200)
@blp.doc(responses={"200": STREAM})
def listen(args: dict[str, Any]) -> Response:
    """Stream live events as Server-Sent Events; after a reconnect, `Last-Event-ID` resumes the stream."""
    response = Response(content_type="text/event-stream", headers=UNBUFFERED)
    claims = current_user()
    if request.method == "HEAD":
        return response
    if "ticket" in args:
        claims = _ticket_holder(args["ticket"], claims)
    topics = args.get("topics") or (TOPICS if claims is None else (*TOPICS, NOTIFICATION))
    if NOTIFICATION in topics and claims is None:
        claims = require_user()
    position, missed = _position(request.headers.get("Last-Event-ID") or args.get("last_event_id"))
    key = claims.user_id if claims else limiter_key(client_address(request.environ))
    streams: SseServer = current_service().get(SseServer)
    streams.admit(key, PER_USER if claims else PER_ADDRESS)
    named = args.get("names") != "none"
    request.environ[KEY] = Stream(
        key, frozenset(topics), claims, position, named, unsent=stream_start(position, missed, named)
    )
    return response


def _ticket_holder(ticket: str, claims: Claims | None) -> Claims:
    holder = tickets.redeem(ticket)
    if claims and claims.user_id != holder.user_id:
        raise Problem("UNAUTHORIZED", "The ticket and the token name different users.")
    verifier: Verifier = current_service().get(Verifier)
    verifier.revocations.await_past()
    if verifier.revocations.covers(holder):
        raise Problem("TOKEN_REVOKED")
    request.environ["postern.user"] = holder.user_id
    return holder


def _position(event_id: str | None) -> tuple[int, bool]:
    """Return the position at which a stream resumes, and whether events before it are lost."""
    if event_id is None:
        return event_log.newest(), False
    if _event_id(event_id) and event_log.reaches_back_to(int(event_id)):
        return int(event_id), False
    return event_log.newest(), True


@blp.route("/ticket", methods=["POST"])
@signed_in()
@blp.response(200, TicketSchema)
def create_ticket() -> Response:
    """Create a ticket, which opens one stream within a minute, for an EventSource, which sends no token."""
    return respond({"ticket": tickets.issue(require_user()), "expiresIn": int(tickets.LIFETIME.total_seconds())})
