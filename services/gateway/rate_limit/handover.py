"""Hand the rate limit counts over to the process that replaces this one at SIGHUP, so that no window restarts."""

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import orjson

from services.gateway.rate_limit.memory import MemoryWindow

PAUSE = 0.2  # seconds between two polls of the file
TIMEOUT = 20.0  # seconds after the start in which a process takes the counts of its predecessor
_logger = logging.getLogger("postern.gateway")


class LimitsHandover:
    """Write the counts to a file when this process drains; read those of its predecessor after the start."""

    def __init__(self, window: MemoryWindow, path: Path) -> None:
        self._window = window
        self._path = path

    def give(self) -> None:
        """Write the counts; if the disk is full, the new process starts from zero."""
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(orjson.dumps(self._window.storage.export()))
            draft.replace(self._path)
        except OSError as error:
            _logger.warning("the counts of requests are not handed over: %s", error)

    def start(self) -> None:
        """Wait for the file in a thread; it may exist already."""
        threading.Thread(target=self._wait, name="limits handover", daemon=True).start()

    def _wait(self) -> None:
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            with suppress(FileNotFoundError):
                age = time.time() - self._path.stat().st_mtime
                counts = orjson.loads(self._path.read_bytes()) if age < TIMEOUT else {}  # left by a process that died
                self._path.unlink()
                self._window.storage.merge(counts)
                return
            time.sleep(PAUSE)
