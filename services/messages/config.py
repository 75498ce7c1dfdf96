"""The settings of the messages service."""

from dataclasses import dataclass
from email.headerregistry import Address

from shared.mail.settings import MailConfig, mailbox
from shared.settings import (
    database_url,
    needed_in_production,
    service_port,
    service_threads,
    service_url,
    service_workers,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Config(MailConfig):
    """What the messages service reads from the environment besides the settings that all services have."""

    messages_port: int = service_port("messages", 8004)
    workers: int = service_workers("messages")
    threads: int = service_threads("messages")
    database_url: str = database_url("MESSAGES_DATABASE_URL", "messages")
    posts_port: int = service_port("posts", 8002)
    posts_url: str = service_url("posts", 8002)
    contact_to: Address = setting(
        "CONTACT_TO", mailbox, needed_in_production("owner@localhost"), "Who gets the messages of the contact form"
    )
