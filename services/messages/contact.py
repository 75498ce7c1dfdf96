"""Keep what strangers write to the owner, and mail it: both or neither."""

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


def receive(data: dict[str, Any], source: str | None, user_agent: str, owner: Address) -> str:
    """Keep a message, have it mailed to the owner, and return its id; a robot's is dropped, which it cannot tell."""
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
    """Return what a header says, which may be any bytes, as one line."""
    return "".join(character if character.isprintable() else " " for character in user_agent)[:MAX_USER_AGENT]


def change(message: ContactMessage, status: str) -> None:
    """Give a locked message another status."""
    if message.status != status:
        message.status = status
        message.version += 1
        message.save()
