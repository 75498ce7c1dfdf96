"""What comes in and what goes out, named by use."""

from collections.abc import Callable
from typing import Any, ClassVar

import marshmallow as ma

from services.messages.live_events.public_events import NOTIFICATION, TOPICS
from services.messages.models import STATUSES, TYPES, ContactMessage
from shared.clock import rfc3339
from shared.database.pagination import PageQuerySchema
from shared.mail.addresses import Email
from shared.mail.smtp import header_text
from shared.web.schema import SOMETIMES, AnswerSchema, Boolean, Schema, Text, Timestamp


def _fits_a_head(text: str) -> None:
    """Refuse what could end a line in the head of a mail; the kit's texts may hold U+2028."""
    try:
        header_text(text)
    except ValueError as error:
        raise ma.ValidationError("Must not contain line breaks.") from error


class ContactSchema(Schema):
    """A message to the owner; `website` is left empty by people, who do not see it, and filled in by robots."""

    name = Text(low=2, high=ContactMessage.name.max_length, required=True, validate=[_fits_a_head])
    email = Email(required=True)
    subject = Text(low=5, high=ContactMessage.subject.max_length, required=True, validate=[_fits_a_head])
    message = Text(low=10, high=5000, lines=True, required=True)
    website = ma.fields.Raw(load_default=None, metadata={"description": "Leave it out."})


class ContactQuerySchema(Schema):
    """Where the form stands, such as the name of a page."""

    source = Text(high=ContactMessage.source.max_length)


class ReceiptSchema(AnswerSchema):
    """The id of what was sent."""

    id = ma.fields.String()


class ContactListSchema(PageQuerySchema):
    """The query of the moderators' list; all messages without a status."""

    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES))


class ContactChangeSchema(Schema):
    """What can be changed of a message."""

    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES), required=True)


class ContactMessageSchema(AnswerSchema):
    """A message to the owner."""

    id = ma.fields.String()
    name = ma.fields.String()
    email = ma.fields.String()
    subject = ma.fields.String()
    message = ma.fields.String()
    source = ma.fields.String(allow_none=True)
    user_agent = ma.fields.String()
    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES))
    created_at = Timestamp()


class NotificationChangeSchema(Schema):
    """What can be changed of a notification."""

    read = Boolean(required=True)


class ActorSchema(AnswerSchema):
    """Who did what a notification is about; the name is null until auth has told it."""

    id = ma.fields.String()
    name = ma.fields.String(allow_none=True)
    avatar = ma.fields.String(allow_none=True)


class PostSchema(AnswerSchema):
    """The post that a notification is about."""

    id = ma.fields.String()
    title = ma.fields.String(allow_none=True)


class NotificationSchema(AnswerSchema):
    """What a user is told; what a type lacks is left out.

    `comment` and `reply` have actor, post and commentId; `like` has actor (the latest), post and likes (how many);
    `role` has role.
    """

    beside_list: ClassVar[dict[str, ma.fields.Field[Any]]] = {"unread": ma.fields.Integer(required=True)}
    id = ma.fields.String()
    type = ma.fields.String(validate=ma.validate.OneOf(TYPES))
    actor = ma.fields.Nested(ActorSchema, metadata=SOMETIMES)
    post = ma.fields.Nested(PostSchema, metadata=SOMETIMES)
    comment_id = ma.fields.String(metadata=SOMETIMES)
    likes = ma.fields.Integer(metadata=SOMETIMES)
    role = ma.fields.String(metadata=SOMETIMES)
    read = ma.fields.Boolean()
    created_at = Timestamp()


contact_item: Callable[[ContactMessage], dict[str, Any]] = ContactMessageSchema().dump


def notification_item(row: Any) -> dict[str, Any]:
    """Return a row of `Notification.of` as NotificationSchema documents it."""
    actor = {"id": row.actor_id, "name": row.actor_name, "avatar": row.actor_avatar}
    about = {
        "actor": actor if row.actor_id else None,
        "post": {"id": row.post_id, "title": row.post_title} if row.post_id else None,
        "commentId": row.comment_id,
        "likes": row.likes,
        "role": row.role,
    }
    item = {"id": row.id, "type": row.type, "read": row.read, "createdAt": rfc3339(row.created_at)}
    return item | {name: value for name, value in about.items() if value is not None}


class Topics(ma.fields.String):
    """Names of topics, separated by commas."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        words = {word.strip() for word in str(value).split(",")}
        if not words <= {*TOPICS, NOTIFICATION}:
            raise ma.ValidationError(f"Must be some of {', '.join((*TOPICS, NOTIFICATION))}, separated by commas.")
        return frozenset(words)


class EventsQuerySchema(Schema):
    """What to hear, and from where on; a header `Last-Event-ID` counts before the parameter."""

    topics = Topics(metadata={"description": "Some of the topics, separated by commas; all without it."})
    last_event_id = ma.fields.String(data_key="lastEventId")
    ticket = ma.fields.String()
    names = ma.fields.String(
        validate=ma.validate.OneOf(["none"]),
        metadata={
            "description": "`none`: no `event:` lines, so that `onmessage` hears every event; `data` has its topic."
        },
    )


class TicketSchema(AnswerSchema):
    """A ticket, and for how many seconds it is good."""

    ticket = ma.fields.String()
    expires_in = ma.fields.Integer()
