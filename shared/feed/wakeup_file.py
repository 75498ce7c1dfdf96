"""Wake feed consumers on the same machine: a commit touches a file that their processes poll.

A touch is only a hint, as a Redis message is. Consumers of a source on another machine get none, and poll more often.
"""

import os
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from shared.feed.consumer import FeedConsumer
from shared.periodic_task import PeriodicTask

LOOK = 0.2  # seconds between two polls of the files; one takes microseconds, a poll of a feed a millisecond


class FileWakeup(PeriodicTask):
    """Touch this service's file at each commit of a fact, and wake consumers when the file of their source changes."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__("nearby", LOOK, self._look_around)
        self._folder = folder
        self._own = folder / name
        self._consumers: dict[Path, list[FeedConsumer]] = defaultdict(list)
        self._seen: dict[Path, int] = {}

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
        super().start()

    def _look_around(self) -> None:
        for file, consumers in self._consumers.items():
            with suppress(OSError):
                self._look(file, consumers)

    def _look(self, file: Path, consumers: list[FeedConsumer]) -> None:
        touched = file.stat().st_mtime_ns
        if self._seen.get(file) != touched:
            self._seen[file] = touched
            for consumer in consumers:
                consumer.wake()
