"""Build a mail and deliver it by SMTP or, in development, into a folder."""

import logging
import os
import re
import smtplib
from contextlib import suppress
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from shared.mail.settings import MailConfig
from shared.network.host_names import ascii_domain
from shared.network.tls import client_context

TIMEOUT = 30.0  # seconds that each step of the exchange may take
PORTS = {"smtp": 587, "smtps": 465}
LONGEST_LINE = 998  # RFC 5322, section 2.1.1

_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_controls_but_lines = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]").search
_link = re.compile(r"https?://\S+")
_logger = logging.getLogger("postern.mail")


class RefusedError(Exception):
    """A permanent failure: the server will never accept this mail."""


class Transport(Protocol):
    """A transport of mails; `send` raises RefusedError, or another exception if a retry may succeed."""

    def send(self, message: EmailMessage) -> None: ...


def header_text(text: str) -> str:
    """Return the text if it can stand in a header; raise ValueError for line breaks and other controls."""
    if not text.strip() or _controls(text):
        raise ValueError("a text in the head of a mail is empty or has control characters")
    return text


def body_text(text: str) -> str:
    """Return the text if it can be a body: lines and tabs are its only control characters."""
    if _controls_but_lines(text):
        raise ValueError("the body of a mail has control characters")
    return text


def mail_address(text: str) -> Address:
    """Return one address, its domain as A-labels; raise ValueError if it is not valid."""
    local, at, domain = header_text(text).rpartition("@")
    if not (at and local and domain):
        raise ValueError("not a mail address")
    return Address(username=local, domain=ascii_domain(domain))


def compose(
    sender: Address, recipient: str, subject: str, body: str, *, name: str, written_at: datetime
) -> EmailMessage:
    """Build a mail of plain text; `name` makes the Message-ID, by which a receiver knows a mail sent twice."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail_address(recipient)
    message["Subject"] = header_text(subject)
    message["Date"] = format_datetime(written_at)
    message["Message-ID"] = f"<{name}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes, please
    short = body.isascii() and all(len(line) <= LONGEST_LINE for line in body.splitlines())
    message.set_content(body_text(body), cte="7bit" if short else "quoted-printable")
    return message


def answer_to(message: EmailMessage, reply_to: str | None) -> None:
    """Name who gets the answer, if any server can read the address: one beyond ASCII would need SMTPUTF8 (RFC 6531)."""
    address = mail_address(reply_to) if reply_to else None
    if address and address.addr_spec.isascii():
        message["Reply-To"] = address


def _policy(message: EmailMessage) -> "EmailPolicy[EmailMessage]":
    """Return the policy of the mail: ASCII, or SMTPUTF8 if an address needs it (RFC 6531)."""
    return SMTP if all(address.isascii() for address in _recipients(message)) else SMTPUTF8


def _recipients(message: EmailMessage) -> list[str]:
    return [address.addr_spec for address in message["To"].addresses]


class SmtpTransport:
    """Send over `smtp://user:password@host:port`, with STARTTLS where it is offered, or over `smtps://…`."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._implicit_tls = parts.scheme == "smtps"
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._timeout = timeout

    def send(self, message: EmailMessage) -> None:
        smtp = self._connect(message["From"].addresses[0].domain)
        try:
            self._sign_in(smtp)
            _hand_over(smtp, message)
            with suppress(OSError):  # the mail is theirs now, however they say goodbye
                smtp.quit()
        finally:
            smtp.close()

    def _connect(self, own_name: str) -> smtplib.SMTP:
        if self._implicit_tls:
            context = client_context()
            return smtplib.SMTP_SSL(self._host, self._port, own_name, timeout=self._timeout, context=context)
        return smtplib.SMTP(self._host, self._port, own_name, timeout=self._timeout)

    def _sign_in(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo_or_helo_if_needed()
        encrypted = self._implicit_tls
        if not encrypted and smtp.has_extn("starttls"):
            smtp.starttls(context=client_context())
            encrypted = True
        if self._user:
            if not encrypted and not _is_this_machine(self._host):
                raise OSError("the mail server offers no encryption, so it does not get the password")
            smtp.login(self._user, self._password)


def _hand_over(smtp: smtplib.SMTP, message: EmailMessage) -> None:
    """Send the mail; raise RefusedError for a recipient or content that is refused permanently (5xx, RFC 5321)."""
    policy = _policy(message)
    if policy.utf8 and not smtp.has_extn("smtputf8"):
        raise RefusedError("the mail server takes ASCII addresses only")
    options = ["SMTPUTF8", "BODY=8BITMIME"] if policy.utf8 else []
    sender: str = message["From"].addresses[0].addr_spec
    try:
        smtp.sendmail(sender, _recipients(message), message.as_bytes(policy=policy), options)
    except smtplib.SMTPRecipientsRefused as error:
        ((code, reason),) = error.recipients.values()
        raise _refusal(code, reason) from error
    except smtplib.SMTPDataError as error:
        raise _refusal(error.smtp_code, error.smtp_error) from error


def _refusal(code: int, reason: bytes | str) -> Exception:
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    return (RefusedError if code >= 500 else OSError)(f"{code} {text}")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class FolderTransport:
    """Write each mail as an `.eml` file that any mail program opens, and log the link in it: for development."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._folder / f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml"
        _write_whole(target, message.as_bytes(policy=_policy(message)))
        links = " ".join(_link.findall(message.get_content()))
        _logger.info("mail to %s: %s %s (%s)", ", ".join(_recipients(message)), message["Subject"], links, target)


def transport_of(config: MailConfig) -> Transport:
    """Return the transport of the settings."""
    return SmtpTransport(config.email_url) if config.email_url else FolderTransport(config.data_dir / "mail")


def _write_whole(target: Path, content: bytes) -> None:
    draft = target.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
