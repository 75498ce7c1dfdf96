"""Periodic tasks that use a database."""

import logging
from collections.abc import Callable

from shared.database.connection import Database, drop_broken
from shared.database.errors import log_failure
from shared.periodic_task import PeriodicTask

_logger = logging.getLogger("postern.background")


class UsesDatabase(PeriodicTask):
    """Give a task a connection of its own, which is replaced when it was lost; mixed in before its class."""

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
    """A periodic task that says in one line when the database is away."""

    def __init__(self, name: str, pause: float, work: Callable[[], object], database: Database) -> None:
        super().__init__(name, pause, work)
        self._database = database

    def _log_failure(self, error: Exception) -> None:
        log_failure(_logger, f"{self._name} failed and is tried again", error)
