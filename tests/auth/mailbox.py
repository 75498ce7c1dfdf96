"""What the auth service has mailed, or is about to."""

import re

from services.auth.account_mail import AccountMailer
from services.auth.models import Mail
from shared.mail.outbox import MailColumns
from shared.service import service_of
from tests.auth.conftest import Client

_token = re.compile(r"\?token=([\w-]{43})\n").search


def answer_requests(client: Client) -> None:
    """Do what the service does beside the requests: write the mails that were asked for."""
    mails: AccountMailer = service_of(client.application).get(AccountMailer)
    mails.answer_requests()


def mailed(kind: str, recipient: str | None = None) -> list[MailColumns]:
    query = Mail.select().where(Mail.kind == kind).order_by(Mail.created_at, Mail.id)
    return list(query.where(Mail.recipient == recipient) if recipient else query)


def token_of(mail: MailColumns) -> str:
    found = _token(mail.body)
    assert found, mail.body
    return found[1]


def last_token(kind: str) -> str:
    return token_of(mailed(kind)[-1])
