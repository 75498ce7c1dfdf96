"""Readers that are woken by a touched file."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.feed.consumer import FeedConsumer
from shared.feed.wakeup_file import FileWakeup
from tests.waiting import wait_until

Start = Callable[..., FileWakeup]


class Nudged(FeedConsumer):
    """A reader that only counts how often it is woken."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "http://nowhere", "", {})
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[FileWakeup] = []

    def make(name: str, *readers: FeedConsumer) -> FileWakeup:
        started.append(FileWakeup(tmp_path / "news", name))
        for reader in readers:
            started[-1].subscribe(reader)
        started[-1].start()
        return started[-1]

    yield make
    for waking in started:
        waking.stop()


def test_a_commit_wakes_the_readers_of_that_feed_only(start: Start) -> None:
    alpha, beta = Nudged("alpha"), Nudged("beta")
    start("gamma", alpha, beta)
    source = start("alpha")
    wait_until(lambda: alpha.woken == 1)
    for count in (2, 3):
        source.notify()
        wait_until(lambda count=count: alpha.woken == count)
    assert (alpha.woken, beta.woken) == (3, 0)


def test_two_commits_in_one_tick_of_the_file_system_are_told_apart(start: Start, tmp_path: Path) -> None:
    source = start("alpha")
    times = []
    for _ in range(50):
        source.notify()
        times.append((tmp_path / "news" / "alpha").stat().st_mtime_ns)
    assert len(set(times)) == 50


def test_a_folder_that_is_gone_or_full_fails_no_commit(start: Start, tmp_path: Path) -> None:
    reader = Nudged("alpha")
    source = start("alpha", reader)
    wait_until(lambda: reader.woken)
    shutil.rmtree(tmp_path / "news")
    source.notify()
    (tmp_path / "news").mkdir()
    source.notify()
    wait_until(lambda: reader.woken == 2)


def test_the_files_are_nobody_elses(start: Start, tmp_path: Path) -> None:
    start("alpha")
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "news", tmp_path / "news" / "alpha")] == [
        "0o700",
        "0o600",
    ]
