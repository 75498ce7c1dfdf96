"""What comes in and what goes out, named by use."""

from collections.abc import Callable
from typing import Any

import marshmallow as ma
import orjson

from services.auth.models import ACTIVE, AUDIT_KINDS, PENDING, SUSPENDED, AuditEvent, Profile, User
from services.auth.passwords import normal
from shared.database.pagination import PageQuerySchema
from shared.identity.password_policy import PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH
from shared.identity.roles import ROLES
from shared.ids import is_id
from shared.mail.addresses import MAX_EMAIL, Email
from shared.web.schema import SOMETIMES, AnswerSchema, Boolean, Schema, Text, Timestamp


def _is_upload_id(text: str) -> None:
    if not is_id(text):
        raise ma.ValidationError("Must be the id of an upload.")


class NewPassword(Text):
    """A password to be set: any text of the lengths of the policy, in the one form that all keyboards type."""

    def __init__(self, **options: Any) -> None:
        super().__init__(low=PASSWORD_MIN_LENGTH, high=PASSWORD_MAX_LENGTH, verbatim=True, lines=True, **options)
        self._high *= 4  # characters as typed: no character is made of more than four (UAX 15)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return normal(super()._deserialize(value, attr, data, **kwargs))


class GivenPassword(Text):
    """A password to be compared, whatever it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(high=1000, verbatim=True, lines=True, **options)


class RegisterSchema(Schema):
    """What makes an account."""

    name = Text(low=2, high=User.name.max_length, required=True)
    email = Email(required=True)
    password = NewPassword(required=True)


class LoginSchema(Schema):
    """An address and a password, whatever they are: whether they are right is said in one way only."""

    email = Text(low=1, high=1000, required=True)
    password = GivenPassword(required=True)
    remember_me = Boolean(load_default=False)
    cookie_only = Boolean(load_default=False)


class EmailRequestSchema(Schema):
    """An address to mail a link to, if it is somebody's."""

    email = Email(required=True)


class MailTokenSchema(Schema):
    """The token of a mailed link."""

    token = Text(low=1, high=200, required=True)


class PasswordResetSchema(MailTokenSchema):
    """The token of a mailed link, and the password to set."""

    password = NewPassword(required=True)


class UserReplaceSchema(Schema):
    """All that admins write of an account; a role that is left out is `user`, a password stays as it is."""

    name = Text(low=2, high=User.name.max_length, required=True)
    email = Email(required=True)
    password = NewPassword()
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES), load_default="user")


class UserChangeSchema(UserReplaceSchema):
    """What of it changes; what is not named stays."""

    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class AccountChangeSchema(Schema):
    """What an account may do, and whether it may do anything."""

    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))
    status = ma.fields.String(validate=ma.validate.OneOf((ACTIVE, SUSPENDED)))


class UserQuerySchema(PageQuerySchema):
    """The query of the list of accounts; `search` is part of a name or an address."""

    search = Text(high=MAX_EMAIL)
    status = ma.fields.String(validate=ma.validate.OneOf((ACTIVE, SUSPENDED, PENDING)))
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))
    sort = ma.fields.String(
        validate=ma.validate.OneOf(("newest", "oldest", "name", "lastLogin")), load_default="newest"
    )


class AuditQuerySchema(PageQuerySchema):
    """The query of the list of security events; `user` is the id of whose account it was."""

    kind = Text(high=AuditEvent.kind.max_length)
    user = Text(high=36)


class RefreshSchema(Schema):
    """The token of the answer before; without it the cookie's counts."""

    body_required = False

    refresh_token = Text(low=1, high=200)


class MeUpdateSchema(Schema):
    """What a user changes of their own account; what is not named stays."""

    name = Text(low=2, high=User.name.max_length)
    bio = Text(high=Profile.bio.max_length, lines=True, allow_none=True)
    avatar = Text(high=36, allow_none=True, validate=[_is_upload_id])


class PasswordProofSchema(Schema):
    """The password, shown again before something that cannot be undone."""

    password = GivenPassword(required=True)


class PasswordChangeSchema(Schema):
    """The password that one has, and the one to have."""

    old_password = GivenPassword(required=True)
    new_password = NewPassword(required=True)


class SessionSchema(AnswerSchema):
    """A place where somebody is signed in; `current` is the one that asks."""

    id = ma.fields.String()
    current = ma.fields.Boolean()
    user_agent = ma.fields.String()
    address = ma.fields.String()
    created_at = Timestamp()
    last_used_at = Timestamp()


class UserSchema(AnswerSchema):
    """An account as its owner sees it."""

    id = ma.fields.String()
    name = ma.fields.String()
    email = ma.fields.String()
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))
    avatar = ma.fields.String(attribute="profile.avatar", allow_none=True)
    bio = ma.fields.String(attribute="profile.bio", allow_none=True)
    email_verified = ma.fields.Boolean()
    created_at = Timestamp()
    last_login = Timestamp(allow_none=True)


class AdminUserSchema(UserSchema):
    """An account as admins see it; `status` is active, suspended, or pending until the address is verified."""

    status = ma.fields.String(attribute="standing", validate=ma.validate.OneOf((ACTIVE, SUSPENDED, PENDING)))


class AuditEventSchema(AnswerSchema):
    """A security event: the actor is whoever was signed in, null for a login or a command."""

    id = ma.fields.String()
    kind = ma.fields.String(validate=ma.validate.OneOf(AUDIT_KINDS))
    user_id = ma.fields.String(allow_none=True)
    actor_id = ma.fields.String(allow_none=True)
    address = ma.fields.String()
    request_id = ma.fields.String()
    created_at = Timestamp()
    detail = ma.fields.Function(
        lambda event: orjson.Fragment(event.detail), metadata={"type": "object", "additionalProperties": True}
    )


class PublicUserSchema(AnswerSchema):
    """An account as everybody sees it: never with the address."""

    id = ma.fields.String()
    name = ma.fields.String()
    bio = ma.fields.String(attribute="profile.bio", allow_none=True)
    avatar = ma.fields.String(attribute="profile.avatar", allow_none=True)
    created_at = Timestamp()


class VerifiedSchema(AnswerSchema):
    """An address is known to be its owner's."""

    email = ma.fields.String()
    email_verified = ma.fields.Boolean()


class MessageSchema(AnswerSchema):
    """A sentence for a person."""

    message = ma.fields.String()


class SigninSchema(AnswerSchema):
    """A session has begun or goes on; `expiresIn` is in seconds. With `cookieOnly` the tokens are in cookies alone."""

    user = ma.fields.Nested(UserSchema)
    access_token = ma.fields.String()
    refresh_token = ma.fields.String()
    token_type = ma.fields.String(validate=ma.validate.Equal("Bearer"))
    expires_in = ma.fields.Integer()


class RegistrationSchema(SigninSchema):
    """A new account, and its first session unless the address has to be verified first."""

    access_token = ma.fields.String(metadata=SOMETIMES)
    refresh_token = ma.fields.String(metadata=SOMETIMES)
    token_type = ma.fields.String(metadata=SOMETIMES, validate=ma.validate.Equal("Bearer"))
    expires_in = ma.fields.Integer(metadata=SOMETIMES)


Item = Callable[[User], dict[str, Any]]
user_item: Item = UserSchema().dump
admin_item: Item = AdminUserSchema().dump
public_item: Item = PublicUserSchema().dump
