"""Wake feed consumers on the same machine: a commit touches a file that their processes poll.

A touch is only a hint, as a message over Redis is. Readers whose source touches no file that they see, because it
runs on another machine, ask as often as ever.
"""

import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from shared.feed.consumer import FeedConsumer

LOOK = 0.2  # seconds between two looks at the files, which take microseconds; a question takes a millisecond


class FileWakeup:
    """Tell of facts published here, and wake the readers here of those published elsewhere."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = folder / name
        self._readers: dict[Path, list[FeedConsumer]] = defaultdict(list)
        self._seen: dict[Path, int] = {}
        self._stopping = threading.Event()

    def subscribe(self, reader: FeedConsumer) -> None:
        """Wake this reader from now on."""
        self._readers[self._folder / reader.source].append(reader)

    def notify(self) -> None:
        """Have the others told that there is news."""
        now = time.time_ns()
        with suppress(OSError):
            self._own.touch(mode=0o600)
            os.utime(self._own, ns=(now, now))  # finer than the clock of the file system

    def start(self) -> None:
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.notify()
        threading.Thread(target=self._run, name="nearby", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK):
            for file, readers in self._readers.items():
                with suppress(OSError):
                    self._look(file, readers)

    def _look(self, file: Path, readers: list[FeedConsumer]) -> None:
        touched = file.stat().st_mtime_ns
        if self._seen.get(file) != touched:
            self._seen[file] = touched
            for reader in readers:
                reader.wake()
