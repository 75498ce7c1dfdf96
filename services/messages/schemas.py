"""Request and response schemas, named by use."""

from collections.abc import Callable
from typing import Any, ClassVar

import marshmallow as ma

from services.messages.live_events.public_events import CONNECTED, NOTIFICATION, RESYNC, TOPICS
from services.messages.models import COMMENT, LIKE, REPLY, ROLE, STATUSES, WELCOME, ContactMessage
from shared.clock import rfc3339
from shared.database.pagination import PageQuerySchema
from shared.identity.roles import ROLES
from shared.mail.addresses import Email
from shared.mail.smtp import header_text
from shared.web.schema import AnswerSchema, Boolean, Schema, Text, Timestamp


def _fits_a_head(text: str) -> None:
    """Refuse line breaks, which would allow header injection; `Text` alone allows U+2028."""
    try:
        header_text(text)
    except ValueError as error:
        raise ma.ValidationError("Must not contain line breaks.") from error


class ContactSchema(Schema):
    """A message to the owner; `website` is a honeypot, hidden from people and filled in by bots."""

    name = Text(low=2, high=ContactMessage.name.max_length, required=True, validate=[_fits_a_head])
    email = Email(required=True)
    subject = Text(low=5, high=ContactMessage.subject.max_length, required=True, validate=[_fits_a_head])
    message = Text(low=10, high=5000, lines=True, required=True)
    website = ma.fields.Raw(
        load_default=None, metadata={"type": "string", "description": "Leave it out.", "example": ""}
    )


class ContactQuerySchema(Schema):
    """`source` says where the form is, such as the name of a page."""

    source = Text(high=ContactMessage.source.max_length)


class ReceiptSchema(AnswerSchema):
    """The id of the message."""

    id = ma.fields.String()


class ContactListSchema(PageQuerySchema):
    """The query of the list of messages; without `status`, of all."""

    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES))


class ContactChangeSchema(Schema):
    """A change of a message."""

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


class Type(ma.fields.String):
    """The discriminator of the variants of a schema."""

    def __init__(self, *types: str) -> None:
        super().__init__(validate=ma.validate.OneOf(types))


class NotificationChangeSchema(Schema):
    """A change of a notification."""

    read = Boolean(required=True)


class ActorSchema(AnswerSchema):
    """The user that caused a notification; `name` is null until auth's feed has reported it."""

    id = ma.fields.String()
    name = ma.fields.String(allow_none=True)
    avatar = ma.fields.String(allow_none=True)


class PostSchema(AnswerSchema):
    """The post that a notification is about."""

    id = ma.fields.String()
    title = ma.fields.String(allow_none=True)


class _AnyNotificationSchema(AnswerSchema):
    """The fields of all notifications."""

    id = ma.fields.String()
    read = ma.fields.Boolean()
    created_at = Timestamp()


class WelcomeNotificationSchema(_AnyNotificationSchema):
    """The user has registered."""

    type = Type(WELCOME)


class CommentNotificationSchema(_AnyNotificationSchema):
    """Another user commented on the user's post, or replied to their comment."""

    type = Type(COMMENT, REPLY)
    actor = ma.fields.Nested(ActorSchema)
    post = ma.fields.Nested(PostSchema)
    comment_id = ma.fields.String()


class LikeNotificationSchema(_AnyNotificationSchema):
    """`likes` users like the user's post; `actor` is the last of them."""

    type = Type(LIKE)
    actor = ma.fields.Nested(ActorSchema)
    post = ma.fields.Nested(PostSchema)
    likes = ma.fields.Integer()


class RoleNotificationSchema(_AnyNotificationSchema):
    """The user's role has changed."""

    type = Type(ROLE)
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))


class NotificationSchema(AnswerSchema):
    """A notification."""

    beside_list: ClassVar[dict[str, ma.fields.Field[Any]]] = {"unread": ma.fields.Integer(required=True)}
    variants: ClassVar[dict[str, type[Any]]] = {
        WELCOME: WelcomeNotificationSchema,
        COMMENT: CommentNotificationSchema,
        REPLY: CommentNotificationSchema,
        LIKE: LikeNotificationSchema,
        ROLE: RoleNotificationSchema,
    }


class StreamEventSchema(AnswerSchema):
    """The stream starts here; after `resync` fetch everything again."""

    type = Type(CONNECTED, RESYNC)


class PostEventSchema(AnswerSchema):
    """A post became public, or a public post was edited."""

    type = Type("post.published", "post.updated")
    id = ma.fields.String()
    slug = ma.fields.String()
    title = ma.fields.String()
    author_id = ma.fields.String()
    published_at = Timestamp()


class PostDeletedEventSchema(AnswerSchema):
    """A post is no longer public."""

    type = Type("post.deleted")
    id = ma.fields.String()


class CommentEventSchema(AnswerSchema):
    """A comment became public, or a public comment was edited."""

    type = Type("comment.created", "comment.updated")
    id = ma.fields.String()
    post_id = ma.fields.String()
    author_id = ma.fields.String()
    parent_id = ma.fields.String(allow_none=True)


class CommentDeletedEventSchema(AnswerSchema):
    """A comment was deleted or hidden."""

    type = Type("comment.deleted")
    id = ma.fields.String()
    post_id = ma.fields.String()


class EventSchema(AnswerSchema):
    """The `data` of an event of the stream: an event of posts, or a notification of the user."""

    variants: ClassVar[dict[str, type[Any]]] = {
        CONNECTED: StreamEventSchema,
        RESYNC: StreamEventSchema,
        "post.published": PostEventSchema,
        "post.updated": PostEventSchema,
        "post.deleted": PostDeletedEventSchema,
        "comment.created": CommentEventSchema,
        "comment.updated": CommentEventSchema,
        "comment.deleted": CommentDeletedEventSchema,
        **NotificationSchema.variants,
    }


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
    """The topics of a stream and where it starts; the header `Last-Event-ID` overrides the parameter."""

    topics = Topics(metadata={"description": "Some of the topics, separated by commas; all without it."})
    last_event_id = ma.fields.String(data_key="lastEventId")
    ticket = ma.fields.String()
    names = ma.fields.String(
        validate=ma.validate.OneOf(["none"]),
        metadata={
            "description": "`none`: no `event:` lines, so that `onmessage` receives every event; `data` has its topic."
        },
    )


class TicketSchema(AnswerSchema):
    """A ticket and its lifetime in seconds."""

    ticket = ma.fields.String()
    expires_in = ma.fields.Integer()
