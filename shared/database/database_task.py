"""A periodic task that uses a database."""

import logging
from collections.abc import Callable

from shared.database.connection import Database, drop_broken
from shared.database.errors import log_failure
from shared.periodic_task import PeriodicTask

_logger = logging.getLogger("postern.background")


class DatabaseTask(PeriodicTask):
    """A periodic task with a connection of its own, which is replaced when it was lost."""

    def __init__(self, name: str, pause: float, work: Callable[[], object], database: Database) -> None:
        super().__init__(name, pause, work)
        self._database = database

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

    def _log(self, what: str, error: Exception) -> None:
        log_failure(_logger, what, error)
