"""Mail addresses: validated, normalised for comparison, with A-labels as their domain."""

import unicodedata
from contextlib import suppress
from typing import Any

import marshmallow as ma

from shared.mail.smtp import mail_address
from shared.network.host_names import ascii_domain
from shared.web.schema import Text

MAX_EMAIL = 254
_valid_email = ma.validate.Email()


def plain_email(email: str) -> str:
    """Return the form in which addresses get mail: NFKC, so that a full-width @ is one."""
    return unicodedata.normalize("NFKC", email)


def fold_email(email: str) -> str:
    """Return the form in which addresses are compared: NFKC, lower case, the domain as A-labels.

    Text that is no address is only lower-cased, so that a login with it finds nobody.
    """
    local, at, domain = plain_email(email).rpartition("@")
    with suppress(ValueError):
        domain = ascii_domain(domain)
    return f"{local}{at}{domain}".lower()


class Email(Text):
    """An address as it was written; its folded form has to be a valid one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(low=3, high=MAX_EMAIL, metadata={"example": "ann@example.com"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        email = super()._deserialize(value, attr, data, **kwargs)
        try:
            mail_address(plain_email(email))
        except ValueError as error:
            raise ma.ValidationError("Not a valid email address.") from error
        folded = fold_email(email)
        _valid_email(folded)
        if len(folded) > MAX_EMAIL:
            raise ma.ValidationError(f"Longer than maximum length {MAX_EMAIL}.")
        return email
