"""Hand the counts of requests over to the process that replaces this one at SIGHUP, so that no quota starts anew."""

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import orjson

from services.gateway.rate_limit.memory import MemoryWindow

PAUSE = 0.2  # seconds between two looks for the file
PATIENCE = 20.0  # seconds after the start of a process in which the one before may hand over
_logger = logging.getLogger("postern.gateway")


class LimitsHandover:
    """A file that the old process writes when it drains, and the new one takes; the window is that of this process."""

    def __init__(self, window: MemoryWindow, path: Path) -> None:
        self._window = window
        self._path = path

    def give(self) -> None:
        """Write the counts down; without room on the disk the new process counts from nothing."""
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(orjson.dumps(self._window.storage.export()))
            draft.replace(self._path)
        except OSError as error:
            _logger.warning("the counts of requests are not handed over: %s", error)

    def start(self) -> None:
        """Take what a process that is replaced now hands over, perhaps before this one had loaded."""
        threading.Thread(target=self._wait, name="limits handover", daemon=True).start()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(FileNotFoundError):
                age = time.time() - self._path.stat().st_mtime
                counts = orjson.loads(self._path.read_bytes()) if age < PATIENCE else {}  # left by a process that died
                self._path.unlink()
                self._window.storage.merge(counts)
                return
            time.sleep(PAUSE)
