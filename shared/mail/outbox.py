"""An outbox of mails: each is a row of the transaction that causes it, and a worker delivers it.

The time of a mail's next try is also its lease: whoever moves it on first, which the database decides, has a few
minutes for the try. After them the mail is due again, whatever became of that process.
"""

import logging
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import peewee

from shared import clock
from shared.database.connection import Database
from shared.database.database_task import DatabaseTask
from shared.database.fields import TimestampField, id_field
from shared.database.locking import delete_unlocked
from shared.mail.smtp import RefusedError, Transport, answer_to, body_text, compose, header_text, mail_address

PAUSE = 1.0  # seconds between two looks at the table
LEASE = timedelta(minutes=10)  # longer than a try takes whose every step runs into its time limit
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=6)
PATIENCE = timedelta(days=3)
KEPT = timedelta(days=7)
PRUNED_EVERY = timedelta(hours=1)
BATCH = 50

_logger = logging.getLogger("postern.mail")


class MailColumns(peewee.Model):
    """The columns of a service's table of mails; `next_attempt_at` is null once there is nothing left to do.

    The body is emptied then, since a link in it may be as good as a password.
    """

    id = id_field()
    kind = peewee.CharField(max_length=32)
    recipient = peewee.CharField(max_length=254)
    reply_to = peewee.CharField(max_length=254, null=True)
    subject = peewee.CharField(max_length=200)
    body = peewee.TextField()
    created_at = TimestampField(default=clock.now)
    expires_at = TimestampField()
    attempts = peewee.SmallIntegerField(default=0)
    next_attempt_at = TimestampField(null=True, default=clock.now, index=True)
    sent_at = TimestampField(null=True)
    error = peewee.CharField(max_length=200, null=True)


class Outbox:
    """The mails that a service has to send."""

    def __init__(self, model: type[MailColumns], database: Database) -> None:
        self.model = model
        self.database = database

    def write(
        self,
        kind: str,
        recipient: str,
        subject: str,
        body: str,
        *,
        reply_to: str | None = None,
        worth_sending: timedelta = PATIENCE,
    ) -> None:
        """Queue a mail; call it inside the transaction that causes it.

        It is tried for as long as it is worth sending. Raise ValueError for control characters.
        """
        if not self.database.in_transaction():
            raise RuntimeError("a mail is written inside the transaction that causes it")
        mail_address(recipient)
        if reply_to is not None:
            mail_address(reply_to)
        self.model.create(
            kind=kind,
            recipient=recipient,
            reply_to=reply_to,
            subject=header_text(subject),
            body=body_text(body),
            expires_at=clock.now() + worth_sending,
        )


class MailWorker(DatabaseTask):
    """Deliver the mails of the outbox; several processes may do so at the same time."""

    def __init__(self, outbox: Outbox, transport: Transport, sender: Address) -> None:
        super().__init__("mail", PAUSE, self._work_off, outbox.database)
        self._model = outbox.model
        self._transport = transport
        self._sender = sender
        self._prune_at = clock.now()

    def _work_off(self) -> None:
        self.send_due()
        if clock.now() >= self._prune_at:
            self.prune()
            self._prune_at = clock.now() + PRUNED_EVERY

    def send_due(self) -> int:
        """Send all mails that are due, until one fails; return how many were sent."""
        mail, sent = self._model, 0
        due = mail.select().where(mail.next_attempt_at <= clock.now()).order_by(mail.next_attempt_at).limit(BATCH)
        for row in list(due):
            if self.stopping.is_set():
                break
            if self._claim(row):
                if not self._try(row):
                    break
                sent += 1
        return sent

    def prune(self) -> None:
        """Delete mails that were sent or had failed a week ago."""
        mail, before = self._model, clock.now() - KEPT
        given_up = mail.next_attempt_at.is_null() & mail.sent_at.is_null() & (mail.expires_at < before)
        delete_unlocked(mail, (mail.sent_at < before) | given_up)

    def _claim(self, row: MailColumns) -> bool:
        until = clock.now() + LEASE
        mail = self._model
        unclaimed = (mail.id == row.id) & (mail.next_attempt_at == row.next_attempt_at)
        claim = mail.update(attempts=mail.attempts + 1, next_attempt_at=until).where(unclaimed)
        if not claim.execute():
            return False
        row.attempts += 1
        row.next_attempt_at = until
        return True

    def _try(self, row: MailColumns) -> bool:
        """Send one mail; return whether to try the next one at once."""
        try:
            self._transport.send(self._compose(row))
        except RefusedError as error:
            self._give_up(row, error)
        except Exception as error:  # noqa: BLE001 (no single mail may keep the others from being sent)
            self._put_off(row, error)
            return False
        else:
            self._note(row, body="", next_attempt_at=None, sent_at=clock.now(), error=None)
            _logger.info("mail sent", extra=_fields(row))
        return True

    def _compose(self, row: MailColumns) -> EmailMessage:
        message = compose(self._sender, row.recipient, row.subject, row.body, name=row.id, written_at=row.created_at)
        answer_to(message, row.reply_to)
        return message

    def _put_off(self, row: MailColumns, error: Exception) -> None:
        next_attempt_at = clock.now() + retry_pause(row.attempts)
        if next_attempt_at >= row.expires_at:
            self._give_up(row, error)
            return
        self._note(row, next_attempt_at=next_attempt_at, error=_reason(error))
        _logger.warning("mail not sent, tried again later: %s", _reason(error), extra=_fields(row))

    def _give_up(self, row: MailColumns, error: Exception) -> None:
        self._note(row, body="", next_attempt_at=None, error=_reason(error))
        _logger.error("mail given up: %s", _reason(error), extra=_fields(row))

    def _note(self, row: MailColumns, **changes: object) -> None:
        """Store the outcome of a try, unless its lease has expired and another process has begun the next one."""
        mail = self._model
        mail.update(changes).where((mail.id == row.id) & (mail.next_attempt_at == row.next_attempt_at)).execute()


def retry_pause(attempts: int) -> timedelta:
    """Return the pause after so many tries: exponential backoff, up to six hours."""
    pause: timedelta = FIRST_RETRY * 2.0 ** min(attempts - 1, 16)
    return min(pause, LONGEST_RETRY)


def _reason(error: Exception) -> str:
    """Return the error as one printable line, since the text of a server may contain control characters."""
    text = str(error) or type(error).__name__
    return "".join(character if character.isprintable() else " " for character in text)[:200]


def _fields(row: MailColumns) -> dict[str, Any]:
    return {"fields": {"mail": row.id, "kind": row.kind, "attempts": row.attempts}}
