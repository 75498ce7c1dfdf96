"""Mails: rows that become real mails exactly when their transaction is kept, whatever the server does."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import peewee
import pytest

from shared import clock
from shared.database.connection import Database, connect
from shared.mail.outbox import KEPT, LEASE, MailColumns, MailWorker, Outbox, retry_pause
from shared.mail.smtp import RefusedError, SmtpTransport, Transport
from tests.conftest import FrozenClock
from tests.smtp_server import CONTENT, GREETING, HANG_UP, SmtpServer

SENDER = Address("Postern", "postern", "example.org")
database = Database()


class Mail(MailColumns):
    class Meta:
        database = database
        table_name = "mail"


outbox = Outbox(Mail, database)
MakeWorker = Callable[..., MailWorker]


@pytest.fixture(autouse=True)
def _table(empty_database_url: str) -> Iterator[None]:
    database.initialize(connect(empty_database_url))
    database.create_tables([Mail])
    yield
    database.close()


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    server = SmtpServer()
    yield server
    server.close()


@pytest.fixture
def worker(server: SmtpServer) -> MailWorker:
    return MailWorker(outbox, SmtpTransport(server.url, timeout=2), SENDER)


def write(recipient: str = "ann@example.org", **options: Any) -> None:
    with database.atomic():
        outbox.write("test", recipient, "A subject", "Some words.\n", **options)


def test_a_mail_is_sent_once_and_its_body_forgotten(server: SmtpServer, worker: MailWorker) -> None:
    write()
    assert (worker.send_due(), worker.send_due()) == (1, 0)
    (mail,) = server.mails
    assert (mail.sender, mail.recipient) == ("postern@example.org", "ann@example.org")
    assert (mail.message["Subject"], mail.text) == ("A subject", "Some words.\n")
    row = Mail.get()
    assert (row.body, row.attempts, row.next_attempt_at, row.error) == ("", 1, None, None)
    assert row.sent_at is not None


def test_a_mail_goes_with_its_transaction(server: SmtpServer, worker: MailWorker) -> None:
    with database.atomic() as transaction:
        outbox.write("test", "ann@example.org", "A subject", "Words")
        transaction.rollback()
    assert worker.send_due() == 0
    with pytest.raises(RuntimeError):
        outbox.write("test", "ann@example.org", "A subject", "Words")


@pytest.mark.parametrize(
    "step, reply",
    [
        (GREETING, "554 not today"),
        (GREETING, HANG_UP),
        ("MAIL", "451 busy"),
        ("MAIL", "550 sender unknown"),
        ("RCPT", "450 come back later"),
        ("RCPT", HANG_UP),
        ("DATA", "451 busy"),
        (CONTENT, "452 no room"),
        (CONTENT, HANG_UP),
    ],
)
def test_what_may_pass_is_tried_again(server: SmtpServer, frozen_clock: FrozenClock, step: str, reply: str) -> None:
    worker = MailWorker(outbox, SmtpTransport(server.url, timeout=2), SENDER)
    write()
    server.replies[step] = reply
    assert worker.send_due() == 0
    row = Mail.get()
    assert (row.attempts, row.sent_at, row.next_attempt_at) == (1, None, clock.now() + retry_pause(1))
    assert row.error
    assert row.recipient not in row.error
    server.replies.clear()
    assert worker.send_due() == 0
    frozen_clock.moment += retry_pause(1)
    assert worker.send_due() == 1
    assert len(server.mails) == 1


@pytest.mark.parametrize("step", ["RCPT", CONTENT])
def test_what_is_refused_for_good_is_given_up_at_once(server: SmtpServer, worker: MailWorker, step: str) -> None:
    write()
    server.replies[step] = "550 no\x07such user"
    assert worker.send_due() == 1
    row = Mail.get()
    assert (row.body, row.attempts, row.next_attempt_at, row.sent_at) == ("", 1, None, None)
    assert row.error == "550 no such user"
    assert server.mails == []


def test_after_three_days_a_mail_is_given_up(frozen_clock: FrozenClock) -> None:
    server = SmtpServer()
    worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
    server.close()
    write()
    started, pauses = clock.now(), []
    while due := Mail.get().next_attempt_at:
        pauses.append(due - frozen_clock.moment)
        frozen_clock.moment = due
        worker.send_due()
    assert timedelta(days=2, hours=18) < clock.now() - started < timedelta(days=3)
    assert pauses == sorted(pauses)
    assert (pauses[1], pauses[-1]) == (timedelta(seconds=30), timedelta(hours=6))
    assert Mail.get().body == ""


def test_a_mail_is_not_sent_when_it_is_worth_nothing_any_more(frozen_clock: FrozenClock) -> None:
    server = SmtpServer()
    worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
    server.close()
    write(worth_sending=timedelta(seconds=20))
    worker.send_due()
    assert Mail.get().next_attempt_at is None


def test_a_restart_between_writing_and_sending_loses_nothing(server: SmtpServer, empty_database_url: str) -> None:
    write()
    database.close()
    database.initialize(connect(empty_database_url))
    assert MailWorker(outbox, SmtpTransport(server.url), SENDER).send_due() == 1
    assert len(server.mails) == 1


def test_a_claim_of_a_process_that_died_is_lost_after_its_lease(server: SmtpServer, frozen_clock: FrozenClock) -> None:
    class Dying(SmtpTransport):
        def send(self, message: EmailMessage) -> None:
            raise SystemExit

    write()
    with pytest.raises(SystemExit):
        MailWorker(outbox, Dying(server.url), SENDER).send_due()
    worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
    frozen_clock.moment += LEASE - timedelta(seconds=1)
    assert worker.send_due() == 0
    frozen_clock.moment += timedelta(seconds=1)
    assert worker.send_due() == 1
    assert Mail.get().attempts == 2


def test_several_workers_send_each_mail_once(server: SmtpServer) -> None:
    for number in range(12):
        write(f"user{number}@example.org")
    ready = threading.Barrier(4, timeout=30)

    def run() -> None:
        worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
        try:
            ready.wait()
            worker.send_due()
        finally:
            database.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(mail.recipient for mail in server.mails) == sorted(
        f"user{number}@example.org" for number in range(12)
    )
    assert [row.attempts for row in Mail.select()] == [1] * 12


def test_a_late_answer_does_not_undo_what_a_later_try_found(frozen_clock: FrozenClock) -> None:
    class Slow(Transport):
        def send(self, message: EmailMessage) -> None:
            frozen_clock.moment += LEASE
            Mail.update(next_attempt_at=clock.now() + LEASE, attempts=2).execute()
            raise RefusedError

    write()
    MailWorker(outbox, Slow(), SENDER).send_due()
    assert (Mail.get().attempts, Mail.get().next_attempt_at) == (2, clock.now() + LEASE)


def test_one_mail_that_cannot_be_built_does_not_keep_the_others(server: SmtpServer, worker: MailWorker) -> None:
    write()
    Mail.update(subject="broken\nsubject").execute()
    write("bob@example.org")
    assert (worker.send_due(), worker.send_due()) == (0, 1)
    assert [mail.recipient for mail in server.mails] == ["bob@example.org"]


def test_sent_mails_are_kept_for_a_week(server: SmtpServer, frozen_clock: FrozenClock) -> None:
    worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
    write()
    worker.send_due()
    write("later@example.org")
    frozen_clock.moment += KEPT
    worker.prune()
    assert Mail.select().count() == 2
    frozen_clock.advance(seconds=1)
    worker.prune()
    assert [row.recipient for row in Mail.select()] == ["later@example.org"]


def test_the_worker_runs_until_it_is_stopped(server: SmtpServer) -> None:
    worker = MailWorker(outbox, SmtpTransport(server.url), SENDER)
    write()
    worker.start()
    arrived = threading.Event()
    for _ in range(100):
        if server.mails:
            break
        arrived.wait(0.05)
    worker.stop()
    assert len(server.mails) == 1
    assert not any(thread.name == "mail" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "recipient, subject, body",
    [
        ("ann@example.org\r\nBcc: eve@example.org", "Subject", "Body"),
        ("ann@example.org\n", "Subject", "Body"),
        ("ann@exa\0mple.org", "Subject", "Body"),
        ("ann", "Subject", "Body"),
        ("@example.org", "Subject", "Body"),
        ("ann@", "Subject", "Body"),
        ("", "Subject", "Body"),
        ("ann@example.org", "Subject\r\nBcc: eve@example.org", "Body"),
        ("ann@example.org", "Subject\nX: y", "Body"),
        ("ann@example.org", "Subject\rX: y", "Body"),
        ("ann@example.org", "Sub\x0bject", "Body"),
        ("ann@example.org", "Sub\x85ject", "Body"),
        ("ann@example.org", "Sub\u2028ject", "Body"),
        ("ann@example.org", "Sub\ud800ject", "Body"),
        ("ann@example.org", "", "Body"),
        ("ann@example.org", "Subject", "Bo\0dy"),
        ("ann@example.org", "Subject", "Bo\rdy"),
        ("ann@example.org", "Subject", "Bo\udc00dy"),
    ],
)
def test_controls_get_into_no_mail(recipient: str, subject: str, body: str) -> None:
    with pytest.raises(ValueError), database.atomic():
        outbox.write("test", recipient, subject, body)
    assert Mail.select().count() == 0


def test_the_table_has_what_the_worker_looks_for(empty_database_url: str) -> None:
    columns: list[peewee.IndexMetadata] = database.get_indexes("mail")
    assert any(index.columns == ["next_attempt_at"] for index in columns)
