"""Wake feed consumers on the same machine: a commit touches a file that their processes poll.

A touch is only a hint, as a Redis message is. Consumers of a source on another machine get none, and poll more often.
"""

import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from shared.feed.consumer import FeedConsumer

LOOK = 0.2  # seconds between two polls of the files; one takes microseconds, a poll of a feed a millisecond


class FileWakeup:
    """Touch this service's file at each commit of a fact, and wake consumers when the file of their source changes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = folder / name
        self._consumers: dict[Path, list[FeedConsumer]] = defaultdict(list)
        self._seen: dict[Path, int] = {}
        self._stopping = threading.Event()

    def subscribe(self, consumer: FeedConsumer) -> None:
        self._consumers[self._folder / consumer.source].append(consumer)

    def notify(self) -> None:
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
            for file, consumers in self._consumers.items():
                with suppress(OSError):
                    self._look(file, consumers)

    def _look(self, file: Path, consumers: list[FeedConsumer]) -> None:
        touched = file.stat().st_mtime_ns
        if self._seen.get(file) != touched:
            self._seen[file] = touched
            for consumer in consumers:
                consumer.wake()
