"""Work beside the requests, which is tried again when it fails."""

import peewee
import pytest

from shared.database.database_task import DatabaseTask
from shared.periodic_task import REMIND
from tests.waiting import wait_until


class Work:
    """Raise these errors, one a call; None succeeds."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    def __call__(self) -> None:
        if self.errors and (error := self.errors.pop(0)):
            raise error


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseTask, "after_failure", 0.001)


def run(work: Work) -> None:
    """Repeat the work until it has nothing left to raise."""
    database = peewee.DatabaseProxy()
    database.initialize(peewee.SqliteDatabase(":memory:"))
    repeated = DatabaseTask("work", 0.001, work, database)
    repeated.start()
    wait_until(lambda: not work.errors)
    repeated.stop()


def test_an_outage_of_the_database_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    away = peewee.OperationalError("connection refused\n\tis it running?")
    run(Work(*[away] * 10, None, away))
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["work failed and is tried again: the database is not available: connection refused"] * 2
    assert not any(record.exc_info for record in caplog.records)


def test_a_mistake_of_ours_is_logged_with_its_traceback_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    run(Work(*[ZeroDivisionError("oops")] * (REMIND + 1)))
    assert [record.getMessage() for record in caplog.records] == ["work failed and is tried again: oops"] * 2
    assert all(record.exc_info for record in caplog.records)
