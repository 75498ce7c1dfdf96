"""The settings of a service that sends mails; light, since an event loop patches sockets after reading them."""

from dataclasses import dataclass
from email.headerregistry import Address
from email.policy import SMTP

from shared.network.host_names import ascii_domain
from shared.settings import ServiceConfig, needed_in_production, optional, setting, url


def mailbox(text: str) -> Address:
    """Return the one address of `name@example.org` or `Name <name@example.org>`."""
    advice = "must be an address as name@example.org or Name <name@example.org>"
    if not text.isprintable():
        raise ValueError(advice)
    header = SMTP.header_factory("From", text)
    if header.defects or len(header.addresses) != 1 or not header.addresses[0].domain:
        raise ValueError(advice)
    address: Address = header.addresses[0]
    try:
        return Address(address.display_name, address.username, ascii_domain(address.domain))
    except ValueError as error:
        raise ValueError(advice) from error


@dataclass(frozen=True, kw_only=True)
class MailConfig(ServiceConfig):
    """The settings of a service that sends mails, besides those that all services have."""

    email_url: str | None = setting(
        "EMAIL_URL",
        optional(url("smtp", "smtps")),
        needed_in_production(""),
        "Mail server: smtp://user:password@host:587 or smtps://…:465; without it mails are files in DATA_DIR/mail",
    )
    mail_from: Address = setting(
        "MAIL_FROM", mailbox, needed_in_production("Postern <postern@localhost>"), "Sender of the mails"
    )
