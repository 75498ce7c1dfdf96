"""Run a task periodically in a thread of its own, beside the requests."""

import logging
import threading
from collections.abc import Callable

FAREWELL = 3.0  # seconds that work under way has at a stop
REMIND = 30  # failures in a row from one line in the log to the next

_logger = logging.getLogger("postern.background")


class PeriodicTask:
    """Call `work` every `pause` seconds in a thread of its own, also after it failed.

    Of failures in a row the first is logged, and every thirtieth after it.
    """

    after_failure = 5.0  # seconds

    def __init__(self, name: str, pause: float, work: Callable[[], object]) -> None:
        self.stopping = threading.Event()
        self._name = name
        self.pause = pause
        self._work = work
        self._thread: threading.Thread | None = None
        self._failures = 0  # in a row

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread:
            self._thread.join(FAREWELL)

    def _run(self) -> None:
        while not self.stopping.is_set():
            self._rest(self._works())

    def _rest(self, worked: bool) -> None:
        self.stopping.wait(self.pause if worked else self.after_failure)

    def _works(self) -> bool:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (the thread never dies)
            if self._failures % REMIND == 0:
                self._log_failure(error)
            self._failures += 1
            return False
        self._failures = 0
        return True

    def _log_failure(self, error: Exception) -> None:
        _logger.warning("%s failed and is tried again: %s", self._name, error)
