"""Request and response schemas, named by use."""

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
    """A new password: any text of the length that the policy allows, normalized to NFC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(low=PASSWORD_MIN_LENGTH, high=PASSWORD_MAX_LENGTH, verbatim=True, lines=True, **options)
        self._high *= 4  # characters before normalization: NFC composes at most four into one (UAX 15)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return normal(super()._deserialize(value, attr, data, **kwargs))


class GivenPassword(Text):
    """A password to verify, without the checks of the policy."""

    def __init__(self, **options: Any) -> None:
        super().__init__(high=1000, verbatim=True, lines=True, **options)


class RegisterSchema(Schema):
    """The fields of a registration."""

    name = Text(low=2, high=User.name.max_length, required=True)
    email = Email(required=True)
    password = NewPassword(required=True)


class LoginSchema(Schema):
    """Credentials without a check of their format: every wrong pair gets the same INVALID_CREDENTIALS."""

    email = Text(low=1, high=1000, required=True)
    password = GivenPassword(required=True)
    remember_me = Boolean(load_default=False)
    cookie_only = Boolean(load_default=False)


class EmailRequestSchema(Schema):
    """The address to mail a link to, if it has an account."""

    email = Email(required=True)


class MailTokenSchema(Schema):
    """The single-use token of a mailed link."""

    token = Text(low=1, high=200, required=True)


class PasswordResetSchema(MailTokenSchema):
    """The single-use token of a mailed link and the new password."""

    password = NewPassword(required=True)


class UserReplaceSchema(Schema):
    """The fields of an account that an admin replaces; `role` defaults to `user`, a missing password stays."""

    name = Text(low=2, high=User.name.max_length, required=True)
    email = Email(required=True)
    password = NewPassword()
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES), load_default="user")


class UserChangeSchema(UserReplaceSchema):
    """A partial update of an account; missing fields stay."""

    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class AccountChangeSchema(Schema):
    """A change of role or status."""

    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))
    status = ma.fields.String(validate=ma.validate.OneOf((ACTIVE, SUSPENDED)))


class UserQuerySchema(PageQuerySchema):
    """The query of the list of accounts; `search` matches part of a name or an address."""

    search = Text(high=MAX_EMAIL)
    status = ma.fields.String(validate=ma.validate.OneOf((ACTIVE, SUSPENDED, PENDING)))
    role = ma.fields.String(validate=ma.validate.OneOf(ROLES))
    sort = ma.fields.String(
        validate=ma.validate.OneOf(("newest", "oldest", "name", "lastLogin")), load_default="newest"
    )


class AuditQuerySchema(PageQuerySchema):
    """The query of the list of security events; `user` is the id of the affected account."""

    kind = Text(high=AuditEvent.kind.max_length)
    user = Text(high=36)


class RefreshSchema(Schema):
    """The current refresh token; without it the cookie is used."""

    body_required = False

    refresh_token = Text(low=1, high=200)


class MeUpdateSchema(Schema):
    """A partial update of the own account; missing fields stay."""

    name = Text(low=2, high=User.name.max_length)
    bio = Text(high=Profile.bio.max_length, lines=True, allow_none=True)
    avatar = Text(high=36, allow_none=True, validate=[_is_upload_id])


class PasswordProofSchema(Schema):
    """The current password, which confirms an irreversible operation."""

    password = GivenPassword(required=True)


class PasswordChangeSchema(Schema):
    """The current password and the new one."""

    old_password = GivenPassword(required=True)
    new_password = NewPassword(required=True)


class SessionSchema(AnswerSchema):
    """An active session; `current` is the session of the request."""

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
    """A security event: the actor is the authenticated user, null for a login or a command."""

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
    """The public profile of a user, without the address."""

    id = ma.fields.String()
    name = ma.fields.String()
    bio = ma.fields.String(attribute="profile.bio", allow_none=True)
    avatar = ma.fields.String(attribute="profile.avatar", allow_none=True)
    created_at = Timestamp()


class VerifiedSchema(AnswerSchema):
    """The address that has been verified."""

    email = ma.fields.String()
    email_verified = ma.fields.Boolean()


class MessageSchema(AnswerSchema):
    """A message to show to the user."""

    message = ma.fields.String()


class SigninSchema(AnswerSchema):
    """The tokens of a new or refreshed session; `expiresIn` is in seconds. With `cookieOnly` only cookies have them."""

    user = ma.fields.Nested(UserSchema)
    access_token = ma.fields.String()
    refresh_token = ma.fields.String()
    token_type = ma.fields.String(validate=ma.validate.Equal("Bearer"))
    expires_in = ma.fields.Integer()


class RegistrationSchema(SigninSchema):
    """A new account, with its first session unless sign-in requires a verified address."""

    access_token = ma.fields.String(metadata=SOMETIMES)
    refresh_token = ma.fields.String(metadata=SOMETIMES)
    token_type = ma.fields.String(metadata=SOMETIMES, validate=ma.validate.Equal("Bearer"))
    expires_in = ma.fields.Integer(metadata=SOMETIMES)


Item = Callable[[User], dict[str, Any]]
user_item: Item = UserSchema().dump
admin_item: Item = AdminUserSchema().dump
public_item: Item = PublicUserSchema().dump
