"""The settings of the messages service."""

from dataclasses import dataclass
from email.headerregistry import Address

from shared.mail.settings import MailConfig, mailbox
from shared.settings import needed_in_production, service_port, service_url, setting


@dataclass(frozen=True, kw_only=True)
class Config(MailConfig, service="messages", port=8004):
    """The settings of the messages service besides those of all services."""

    posts_port: int = service_port("posts", 8002)
    posts_url: str = service_url("posts", 8002)
    contact_to: Address = setting(
        "CONTACT_TO", mailbox, needed_in_production("owner@localhost"), "Recipient of the messages of the contact form"
    )
