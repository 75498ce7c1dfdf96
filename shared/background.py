"""Do a piece of work again and again beside the requests, for as long as the process lives."""

import logging
import threading
from collections.abc import Callable

from shared.db import Database, drop_broken

AFTER_FAILURE = 5.0  # seconds
FAREWELL = 3.0  # seconds that work under way has at a stop

_logger = logging.getLogger("postern.background")


class Repeated:
    """Call `work` every `pause` seconds in a thread of its own; what it raises is logged, and it is called again."""

    def __init__(self, name: str, pause: float, work: Callable[[], object], database: Database) -> None:
        self.stopping = threading.Event()
        self._name = name
        self._pause = pause
        self._work = work
        self._database = database
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread:
            self._thread.join(FAREWELL)

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.stopping.wait(self._pause if self._works() else AFTER_FAILURE)
        finally:
            self._database.close()

    def _works(self) -> bool:
        try:
            self._work()
        except Exception as error:
            _logger.error("%s failed and is tried again: %s", self._name, error, exc_info=error)
            return False
        finally:
            drop_broken(self._database)
        return True
