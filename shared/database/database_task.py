"""Periodic tasks that use a database."""

import logging
from collections.abc import Callable

from shared.database.connection import Database, drop_broken
from shared.database.errors import log_failure
from shared.periodic_task import PeriodicTask

_logger = logging.getLogger("postern.background")


class UsesDatabase(PeriodicTask):
    """A mixin for a task with its own database connection, which is replaced if it breaks."""

    _database: Database

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._database.close()

    def _works(self) -> bool:
        try:
            return super()._works()
        finally:
            drop_broken(self._database)


class DatabaseTask(UsesDatabase):
    """A periodic task that logs an outage of the database in one line."""

    def __init__(self, name: str, pause: float, work: Callable[[], object], database: Database) -> None:
        super().__init__(name, pause, work)
        self._database = database

    def _log_failure(self, error: Exception) -> None:
        log_failure(_logger, f"{self._name} failed and is tried again", error)
