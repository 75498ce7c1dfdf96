"""Store a contact message and queue its mail to the owner, in one transaction."""

from email.headerregistry import Address
from typing import Any

from services.messages.models import ContactMessage, database, outbox
from shared.ids import new_id
from shared.mail.addresses import plain_email

MAX_USER_AGENT = 200
MAIL = """{name} <{email}> wrote:

{message}

--
Source: {source}
Browser: {user_agent}
Message: {id}
"""


def submit(data: dict[str, Any], source: str | None, user_agent: str, owner: Address) -> str:
    """Store a message, queue its mail, and return its id.

    A message with the honeypot field `website` is dropped. The bot gets the same response.
    """
    if data.pop("website"):
        return new_id()
    with database.atomic():
        message = ContactMessage.create(**data, source=source, user_agent=_printable(user_agent))
        sender = plain_email(message.email)
        outbox.write("contact", owner.addr_spec, f"Contact: {message.subject}", _text(message), reply_to=sender)
    return str(message.id)


def _text(message: ContactMessage) -> str:
    return MAIL.format(
        name=message.name,
        email=plain_email(message.email),
        message=message.message.replace("\r\n", "\n").replace("\r", "\n"),
        source=message.source or "not said",
        user_agent=message.user_agent or "not said",
        id=message.id,
    )


def _printable(user_agent: str) -> str:
    """Replace control characters, and cut to the length of the column."""
    return "".join(character if character.isprintable() else " " for character in user_agent)[:MAX_USER_AGENT]


def set_status(message: ContactMessage, status: str) -> None:
    """Set the status of a locked message."""
    if message.status != status:
        message.status = status
        message.version += 1
        message.save()
