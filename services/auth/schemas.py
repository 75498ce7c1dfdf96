"""What comes in and what goes out, named by use."""

from typing import Any

import marshmallow as ma

from services.auth.models import User, fold_email
from shared.api import Boolean, Schema, Text, Timestamp
from shared.ids import is_id

_valid_email = ma.validate.Email()


class Email(Text):
    """An address as it was written; its folded form has to be a valid one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(low=3, high=254, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        email = super()._deserialize(value, attr, data, **kwargs)
        folded = fold_email(email)
        _valid_email(folded)
        if len(folded) > 254:
            raise ma.ValidationError("Longer than maximum length 254.")
        return email


def _is_upload_id(text: str) -> None:
    if not is_id(text):
        raise ma.ValidationError("Must be the id of an upload.")


class RegisterSchema(Schema):
    """What makes an account; a password is any text of 8 to 128 characters, taken as it is."""

    name = Text(low=2, high=50, required=True)
    email = Email(required=True)
    password = Text(low=8, high=128, verbatim=True, lines=True, required=True)


class LoginSchema(Schema):
    """An address and a password, whatever they are: whether they are right is said in one way only."""

    email = Text(low=1, high=1000, required=True)
    password = Text(high=1000, verbatim=True, lines=True, required=True)
    remember_me = Boolean(load_default=False)


class RefreshSchema(Schema):
    """The token of the answer before; without it the cookie's counts."""

    body_required = False

    refresh_token = Text(low=1, high=200)


class LogoutSchema(Schema):
    """Nothing has to be said."""

    body_required = False


class MeUpdateSchema(Schema):
    """What a user changes of their own account; what is not named stays."""

    name = Text(low=2, high=50)
    bio = Text(high=500, lines=True, allow_none=True)
    avatar = Text(high=36, allow_none=True, validate=[_is_upload_id])


class UserSchema(Schema):
    """An account as its owner sees it."""

    id = ma.fields.String()
    name = ma.fields.String()
    email = ma.fields.String()
    role = ma.fields.String()
    avatar = ma.fields.String(attribute="profile.avatar", allow_none=True)
    bio = ma.fields.String(attribute="profile.bio", allow_none=True)
    email_verified = ma.fields.Boolean()
    created_at = Timestamp()
    last_login = Timestamp(allow_none=True)


class PublicUserSchema(Schema):
    """An account as everybody sees it: never with the address."""

    id = ma.fields.String()
    name = ma.fields.String()
    bio = ma.fields.String(attribute="profile.bio", allow_none=True)
    avatar = ma.fields.String(attribute="profile.avatar", allow_none=True)
    created_at = Timestamp()


class SigninSchema(Schema):
    """A session has begun or goes on; `expires_in` is in seconds."""

    user = ma.fields.Nested(UserSchema)
    access_token = ma.fields.String()
    refresh_token = ma.fields.String()
    token_type = ma.fields.String()
    expires_in = ma.fields.Integer()


def user_item(user: User) -> dict[str, Any]:
    """Return the body of an account for its owner."""
    item: dict[str, Any] = UserSchema().dump(user)
    return item
